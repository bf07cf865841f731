package devices

import (
	"strings"
	"testing"
)

// message is what the kernel sends, with "|" for its zero bytes.
func message(s string) []byte { return []byte(strings.ReplaceAll(s, "|", "\x00")) }

const plugged = "add@/devices/x/block/sda|ACTION=add|DEVPATH=/devices/x/block/sda|SUBSYSTEM=block|MAJOR=8|MINOR=0|DEVNAME=sda|DEVTYPE=disk|SEQNUM=4711|"

// Whatever may have been about a drive makes a change, and what certainly was not makes none.
func TestWhatCounts(t *testing.T) {
	other := strings.ReplaceAll(plugged, "SUBSYSTEM=block", "SUBSYSTEM=net")
	for _, c := range []struct {
		name, msg         string
		counts, malformed bool
	}{
		{"a drive", plugged, true, false},
		{"a drive that goes", strings.ReplaceAll(plugged, "add", "remove"), true, false},
		{"a controller", strings.ReplaceAll(plugged, "=block", "=nvme"), true, false},
		{"an enclosure", strings.ReplaceAll(plugged, "=block", "=enclosure"), true, false},
		{"a value with an equals sign", plugged + "X=a=b|", true, false},
		{"a network card", other, false, false},
		{"nothing", "", true, true},
		{"a zero byte", "|", true, true},
		{"no zero byte at its end", strings.TrimSuffix(other, "|"), true, true},
		{"cut off", other[:40], true, true},
		{"without a subsystem", "add@/x|ACTION=add|DEVPATH=/x|", true, true},
		{"a head alone", "add@/x|", true, true},
		{"another action than it says", strings.Replace(other, "add@", "remove@", 1), true, true},
		{"another path than it says", strings.Replace(other, "@/devices", "@/other", 1), true, true},
		{"two subsystems", other + "SUBSYSTEM=block|", true, true},
		{"no value", other + "X|", true, true},
		{"no key", other + "=x|", true, true},
		{"no path", "add@|ACTION=add|DEVPATH=|SUBSYSTEM=net|", true, true},
		{"udev's", "libudev|\xfe\xed\xca\xfe|" + other, true, true},
	} {
		if got := weigh(message(c.msg)); got != (heard{counts: c.counts, malformed: c.malformed}) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func FuzzUevent(f *testing.F) {
	f.Add(message(plugged))
	f.Add(message("add@/x|ACTION=add|DEVPATH=/x|SUBSYSTEM=scsi|"))
	f.Add(message("change@/x|ACTION=add|DEVPATH=/x|SUBSYSTEM=scsi"))
	f.Add(message("libudev|||=||"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		e, ok := parseUevent(msg)
		if h := weigh(msg); h.malformed == ok || h.malformed && !h.counts || h.lost {
			t.Fatalf("%+v of a message that is whole: %v", h, ok)
		}
		if !ok {
			return
		}
		// What was taken for whole says each thing once, and no zero byte is in what it says.
		for _, s := range []string{e.action + "@" + e.path, "ACTION=" + e.action, "DEVPATH=" + e.path, "SUBSYSTEM=" + e.subsystem} {
			if n := strings.Count("\x00"+string(msg), "\x00"+s+"\x00"); n != 1 || strings.Contains(s, "\x00") {
				t.Fatalf("%q is in %q %d times", s, msg, n)
			}
		}
	})
}

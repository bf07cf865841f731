package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// after calls do once, when the nth command that is counted has come for a target; the command itself
// is carried out after that.
func (b *bench) after(target uint16, n int64, counted func(cdb []byte) bool, do func()) {
	var seen atomic.Int64
	b.target.mu.Lock()
	defer b.target.mu.Unlock()
	b.target.before = func(at uint16, cdb []byte) {
		if at == target && counted(cdb) && seen.Add(1) == n {
			do()
		}
	}
}

func isWrite(cdb []byte) bool { return cdb[0] == 0x2a || cdb[0] == 0x8a }

// isErase tells the commands by which drives erase themselves.
func isErase(cdb []byte) bool {
	switch cdb[0] {
	case 0x48:
		return cdb[1]&0x1f <= 3
	case 0x04:
		return true
	case 0x85: // SANITIZE DEVICE but for its status, SECURITY ERASE UNIT
		return cdb[14] == 0xb4 && cdb[4] != 0 || cdb[14] == 0xf4
	}
	return false
}

// unplug takes a drive's units away from the guest.
func (b *bench) unplug(serial string, target uint16) {
	drives, err := b.rack.Drives()
	if err != nil {
		b.t.Error(err)
	}
	for _, d := range drives {
		for _, s := range d.Spaces {
			if d.Spec.Serial == serial {
				b.target.detach(target, uint16(s.LUN))
			}
		}
	}
}

// job is the name of the only job in the share.
func (b *bench) job() string {
	b.t.Helper()
	list, err := filepath.Glob(filepath.Join(b.share, "state/jobs/*"))
	if err != nil || len(list) != 1 {
		b.t.Fatalf("jobs %q, %v", list, err)
	}
	return filepath.Base(list[0])
}

// A drive that is pulled while it is overwritten is gone, and neither full nor failed: the job goes on
// when it is back, whatever node it has then.
func TestPulledWhileItIsWritten(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"sas-hdd", "sata-ssd"} {
		t.Run(profile, func(t *testing.T) {
			b := newBench(t)
			target := b.add(virtual.Spec{Profile: profile, Serial: "A", SizeBytes: 16 << 20})
			b.add(virtual.Spec{Profile: profile, Serial: "B", SizeBytes: 4 << 20})
			g := b.boot()
			b.after(target, 9, isWrite, func() { b.unplug("A", target) })
			out, code := g.expunge("run", "A", "B", "--method", "clear", "--technique", "host-overwrite", "--confirm", "A", "--confirm", "B")
			if code != 10 || !strings.Contains(out, "INTERRUPTED") || !strings.Contains(out, "B: CLEARED") {
				t.Errorf("exit %d: %s", code, out)
			}
			if left, _ := b.left("A"); left == 0 {
				t.Fatal("it was pulled too late")
			}
			b.target.attach(target+7, 0, b.open["A"][0])
			g.Must("write", "/sys/class/scsi_host/host0/scan", "- - -")
			out, code = g.expunge("jobs", "resume", b.job())
			if left, hidden := b.left("A"); code != 0 || left != 0 || hidden == 0 {
				t.Errorf("exit %d, %d canaries, %d hidden: %s", code, left, hidden, out)
			}
		})
	}
}

// A guest that dies in the middle of any technique leaves a drive that goes on by itself, or stops; a
// new guest over the same media and the same state brings the job to its end, and begins nothing twice
// that was not cut off.
func TestGuestDiesInEveryTechnique(t *testing.T) {
	t.Parallel()
	for _, x := range techniquesHere {
		if !slices.Contains([]string{"sas-ssd", "sas-hdd", "sata-ssd", "sata-hdd", "sas-dual"}, x.profile) {
			continue
		}
		t.Run(x.profile+" "+string(x.technique), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			target := b.add(virtual.Spec{Profile: x.profile, Serial: "A", EraseSeconds: 3, SizeBytes: 8 << 20})
			other := b.add(virtual.Spec{Profile: "sata-ssd", Serial: "OTHER", SizeBytes: 2 << 20})
			g := b.boot()
			counted, nth := isErase, int64(1)
			if x.technique == sanitize.HostOverwrite {
				counted, nth = isWrite, 7
			}
			arrived := make(chan struct{})
			b.after(target, nth, counted, func() { close(arrived) })
			ended := make(chan string, 1)
			go func() {
				a, err := g.do(t.Context(), request{Args: []string{"expunge", "--state", "/host/state", "run", "A", "--method", string(x.method), "--technique", word(x.technique), "--confirm", "A"}})
				ended <- fmt.Sprintf("%v %s%s", err, a.Stdout, a.Stderr)
			}()
			select {
			case <-arrived:
			case said := <-ended:
				t.Fatalf("it ended before the command came: %s", said)
			case <-time.After(patience):
				t.Fatal("the command does not come")
			}
			g.Kill()
			b.target.mu.Lock()
			b.target.before = nil
			// The nodes of the two drives are the other way round in the next guest.
			units := map[[2]uint16]devices.Transport{}
			for at, tr := range b.target.units {
				units[[2]uint16{target + other - at[0], at[1]}] = tr
			}
			b.target.units = units
			b.target.mu.Unlock()
			again := b.boot()
			out, code := again.expunge("recover")
			if x.technique == sanitize.HostOverwrite { // which does not go on by itself
				if code != 10 {
					t.Errorf("recover: exit %d: %s", code, out)
				}
				out, code = again.expunge("jobs", "resume", b.job())
			}
			left, hidden := b.left("A")
			if code != 0 || left != 0 || x.method == sanitize.Purge && hidden != 0 {
				t.Errorf("exit %d, %d canaries, %d hidden: %s", code, left, hidden, out)
			}
			if left, _ := b.left("OTHER"); left == 0 || len(b.begun("OTHER")) > 0 {
				t.Errorf("the other drive: %d canaries, begun %q", left, b.begun("OTHER"))
			}
			want := map[sanitize.Technique]int{sanitize.HostOverwrite: 0, sanitize.CryptoThenBlock: 2}
			n, known := want[x.technique]
			if !known {
				n = len(b.open["A"]) // each unit once
			}
			if begun := b.begun("A"); len(begun) != n {
				t.Errorf("begun %q", begun)
			}
		})
	}
}

// A drive that is pulled while it erases itself goes on when it has power again, and the job waits
// for it; it is not told to begin a second time.
func TestPulledWhileItErasesItself(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"sas-ssd", "sata-ssd"} {
		t.Run(profile, func(t *testing.T) {
			b := newBench(t)
			target := b.add(virtual.Spec{Profile: profile, Serial: "A", EraseSeconds: 4})
			g := b.boot()
			pulled := make(chan struct{})
			b.after(target, 1, isErase, func() {
				go func() {
					time.Sleep(time.Second) // so that the command was carried out: it is asked after then
					b.unplug("A", target)
					close(pulled)
				}()
			})
			out, code := g.expunge("run", "A", "--method", "purge", "--technique", "block", "--confirm", "A")
			<-pulled
			if code != 10 {
				t.Errorf("exit %d: %s", code, out)
			}
			b.target.attach(target, 0, b.open["A"][0])
			g.Must("write", "/sys/class/scsi_host/host0/scan", "- - -")
			out, code = g.expunge("recover")
			if left, hidden := b.left("A"); code != 0 || left+hidden != 0 || len(b.begun("A")) != 1 {
				t.Errorf("exit %d, %d canaries, begun %q: %s", code, left+hidden, b.begun("A"), out)
			}
		})
	}
}

// Blocks that cannot be written, or not be read back, are exceptions by a real kernel's word, too, and
// no more of them than there are.
func TestBadSectorsInARealKernel(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, fault, says string
		code              int
	}{
		{"write errors", "write-error:1000+3", "but for 1536 bytes", 9},
		{"read errors", "read-error:1000+3", "but for 1536 bytes", 9},
		{"writes that are lost", "drop-writes", "UNPROVEN", 8},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			for _, profile := range []string{"sas-hdd", "sata-hdd"} {
				b.add(virtual.Spec{Profile: profile, Serial: profile, SizeBytes: 2 << 20}, x.fault)
			}
			g := b.boot()
			for _, profile := range []string{"sas-hdd", "sata-hdd"} {
				out, code := g.expunge("run", profile, "--method", "clear", "--technique", "host-overwrite", "--pattern", "zero", "--verify", "full", "--confirm", profile)
				if code != x.code || !strings.Contains(out, x.says) {
					t.Errorf("%s: exit %d: %s", profile, code, out)
				}
				if left, _ := b.left(profile); x.name == "write errors" && (left == 0 || left > 3*512/int64(len(canary))) {
					t.Errorf("%s: %d canaries are left in three blocks", profile, left)
				}
			}
		})
	}
}

// A drive that does not answer holds nobody else up, and is not called done.
func TestADriveThatHangs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	target := b.add(virtual.Spec{Profile: "sas-hdd", Serial: "HANGS"})
	b.add(virtual.Spec{Profile: "sas-hdd", Serial: "WORKS"})
	g := b.boot()
	b.after(target, 3, isWrite, func() { <-t.Context().Done() })
	ended := make(chan answer, 1)
	go func() {
		a, _ := g.do(t.Context(), request{Args: []string{"expunge", "--state", "/host/state", "run", "HANGS", "WORKS", "--method", "clear", "--technique", "host-overwrite", "--confirm", "HANGS", "--confirm", "WORKS"}})
		ended <- a
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if left, _ := b.left("WORKS"); left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other drive is held up")
		}
	}
	certified := func() bool {
		list, err := filepath.Glob(filepath.Join(b.share, "state/jobs/*/*/certificate.json"))
		return err == nil && len(list) == 1
	}
	for deadline := time.Now().Add(patience); !certified(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other drive is not certified")
		}
	}
	select {
	case a := <-ended:
		t.Errorf("it ended while a drive hung: %d %s", a.Code, a.Stdout)
	default:
	}
	g.Kill()
	if left, _ := b.left("HANGS"); left == 0 || !certified() {
		t.Errorf("%d canaries on the drive that hung", left)
	}
}

// Without room for the evidence nothing is begun, and the reason is told.
func TestStateThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "A"})
	g := b.boot()
	g.Must("mount", "tmpfs", "small", "/mnt/small", "size=64k")
	g.Must("mount", "tmpfs", "still", "/mnt/still")
	g.Must("readonly", "/mnt/still")
	for dir, says := range map[string]string{"/mnt/small": "no room", "/mnt/still": "read-only"} {
		a, err := g.do(t.Context(), request{Args: []string{"expunge", "--state", dir + "/state", "run", "A", "--method", "purge", "--confirm", "A"}})
		if err != nil || a.Code == 0 || !strings.Contains(string(a.Stderr), says) {
			t.Errorf("%s: %v, exit %d: %s%s", dir, err, a.Code, a.Stdout, a.Stderr)
		}
	}
	if left, _ := b.left("A"); left == 0 || len(b.begun("A")) > 0 {
		t.Errorf("%d canaries, begun %q", left, b.begun("A"))
	}
}

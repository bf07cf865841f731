package devices

import (
	"bytes"
	"strings"
)

// uevent is a message in which the kernel tells that a device came, went or changed (lib/kobject_uevent.c).
type uevent struct{ action, path, subsystem string }

// parseUevent reads a message of the kernel: "ACTION@DEVPATH", then KEY=VALUE, each with a zero byte behind it.
// What is not whole, contradicts itself, or comes from udev and not from the kernel, is not ok.
func parseUevent(msg []byte) (e uevent, ok bool) {
	fields, whole := bytes.CutSuffix(msg, []byte{0})
	if !whole {
		return uevent{}, false
	}
	head, rest, _ := bytes.Cut(fields, []byte{0})
	action, path, ok := strings.Cut(string(head), "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return uevent{}, false
	}
	values := map[string]string{}
	for field := range bytes.SplitSeq(rest, []byte{0}) {
		key, value, ok := strings.Cut(string(field), "=")
		if _, twice := values[key]; !ok || key == "" || twice && (key == "ACTION" || key == "DEVPATH" || key == "SUBSYSTEM") {
			return uevent{}, false
		}
		values[key] = value
	}
	if values["ACTION"] != action || values["DEVPATH"] != path || values["SUBSYSTEM"] == "" {
		return uevent{}, false
	}
	return uevent{action, path, values["SUBSYSTEM"]}, true
}

// ofDrives are the subsystems of the kernel whose devices are drives, or what drives are behind and in.
var ofDrives = map[string]bool{
	"block": true, "scsi": true, "scsi_host": true, "nvme": true, "nvme-subsystem": true, "mmc": true, "nd": true, "enclosure": true,
}

// heard is what one message comes to.
type heard struct {
	counts    bool // it may be about a drive
	malformed bool // nobody can say what it is about
	lost      bool // there were more than the kernel kept for this process
}

// weigh says what a message of the kernel comes to. One that cannot be read counts: it may have been about a drive.
func weigh(msg []byte) heard {
	e, ok := parseUevent(msg)
	return heard{counts: !ok || ofDrives[e.subsystem], malformed: !ok}
}

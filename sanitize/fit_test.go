package sanitize

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// A drive that said who it is, and could not be asked what it can do, is not said to lack anything.
func TestWhatWasNotAskedIsNotLacking(t *testing.T) {
	policy, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	d := drive()
	d.Protocol, d.Media, d.Identity, d.State = devices.ProtocolSCSI, devices.MediaMagnetic, devices.IdentityDrive, devices.StateUnreadable
	for _, x := range []Technique{DriveOverwrite, Format} {
		if code, why := unfit(x, Clear, d, Request{}, policy); code != "no_command_door" {
			t.Errorf("%s: %s: %s", x, code, why)
		}
	}
}

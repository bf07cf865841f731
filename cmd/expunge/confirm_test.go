package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A serial number that two drives have does not say which of them is meant: only the id or the digest confirms.
func TestSharedSerialConfirmsNothing(t *testing.T) {
	rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{"/dev/mmcblk0", "/dev/mmcblk1"}
	for _, profile := range []string{"sd-card", "emmc"} {
		if _, stderr, code := on(t, rack, "rack", "add", profile, "--serial", "0x11112222", "--size", "1M", "--same-serial"); code != exitOK {
			t.Fatal(stderr)
		}
	}
	listed, err := rack.Host(nil).Drives(t.Context())
	if err != nil || len(listed) != 2 || listed[0].State != devices.StateReady || listed[0].Serial != listed[1].Serial {
		t.Fatalf("%v: %+v", err, listed)
	}
	holds := func(node string) int64 {
		t.Helper()
		m, err := rack.Medium(node)
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := m.CountCanary(oldData)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := holds(nodes[0])
	if before == 0 {
		t.Fatal("the drive holds nothing to begin with")
	}
	_, stderr, code := on(t, rack, "run", nodes[0], "--confirm", "0x11112222")
	if code != exitRefused || !strings.Contains(stderr, "--confirm "+string(listed[0].ID)) || !strings.Contains(stderr, "other drives have the serial number") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if holds(nodes[0]) != before {
		t.Fatal("it was written to")
	}
	if _, stderr, code := on(t, rack, "run", nodes[0], "--confirm", string(listed[1].ID)); code != exitRefused || holds(nodes[0]) != before {
		t.Errorf("by the other's id: exit %d: %s", code, stderr)
	}
	if _, stderr, code := on(t, rack, "run", nodes[0], "--confirm", string(listed[0].ID)); code != exitOK || holds(nodes[0]) != 0 || holds(nodes[1]) == 0 {
		t.Errorf("by its id: exit %d: %s", code, stderr)
	}
}

// Which names confirm a drive.
func TestNamesThatConfirm(t *testing.T) {
	a := sanitize.DrivePlan{ID: "ida", Serial: "S", WWN: "uuid.a"}
	for _, c := range []struct {
		name            string
		others          [][3]string
		want            string
		serial, wwn, id bool
	}{
		{"alone", nil, "S", true, true, true},
		{"a serial number shared", [][3]string{{"idb", "S", "uuid.b"}}, "uuid.a", false, true, true},
		{"both shared", [][3]string{{"idb", "S", "uuid.a"}}, "ida", false, false, true},
		{"a serial number that is another's WWN", [][3]string{{"idb", "T", "S"}}, "uuid.a", false, true, true},
	} {
		known := called{}
		for _, o := range append(c.others, [3]string{string(a.ID), a.Serial, a.WWN}) {
			known.add(devices.ID(o[0]), o[1], o[2])
		}
		if got := known.name(a); got != c.want {
			t.Errorf("%s: named %s", c.name, got)
		}
		if s, w, i := known.confirms("S", a), known.confirms("uuid.a", a), known.confirms("ida", a); s != c.serial || w != c.wwn || i != c.id {
			t.Errorf("%s: serial number %t, WWN %t, id %t", c.name, s, w, i)
		}
		if known.confirms("", sanitize.DrivePlan{ID: "x"}) {
			t.Error("nothing confirms a drive without a serial number")
		}
	}
}

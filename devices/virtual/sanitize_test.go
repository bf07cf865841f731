package virtual

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// nvmeRack is a rack with one NVMe drive and a clock that the test moves.
func nvmeRack(t *testing.T, spec Spec, list ...string) (*Rack, *time.Time) {
	t.Helper()
	if spec.Profile == "" {
		spec.Profile = "nvme-ssd"
	}
	spec.Serial, spec.SizeBytes, spec.EraseSeconds = "N", 1<<20, 100
	r := newRack(t, spec)
	now := time.Unix(1_800_000_000, 0)
	r.Clock = func() time.Time { return now }
	for _, text := range list {
		f, err := ParseFault(text)
		if err == nil {
			err = r.Fault("N", f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r, &now
}

func send(t *testing.T, tr devices.Transport, c *nvme.Command) error {
	t.Helper()
	done, err := tr.NVMe(t.Context(), c)
	return errors.Join(err, done.Err())
}

func start(t *testing.T, tr devices.Transport, s nvme.Sanitize) error {
	t.Helper()
	c, err := s.Command()
	if err != nil {
		t.Fatal(err)
	}
	return send(t, tr, c)
}

func log81(t *testing.T, tr devices.Transport) nvme.SanitizeStatus {
	t.Helper()
	c := nvme.GetLogPage{LID: nvme.LogSanitize, Retain: true}.Command()
	if err := send(t, tr, c); err != nil {
		t.Fatal(err)
	}
	s, err := nvme.ParseSanitizeStatus(c.Data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeIt(t *testing.T, tr devices.Transport) {
	t.Helper()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

// What each operation and each lie leaves on the medium is what every test above this rests on.
func TestSanitizeOnTheMedium(t *testing.T) {
	crypto, block := nvme.Sanitize{SANACT: nvme.CryptoErase}, nvme.Sanitize{SANACT: nvme.BlockErase}
	kept := nvme.Sanitize{SANACT: nvme.CryptoErase, NDAS: true}
	for _, x := range []struct {
		name, fault         string
		s                   nvme.Sanitize
		addressable, hidden bool // customer data can be had there
		zeros               bool // the host reads zeros
		blank               bool // every cell is erased
		underOldKey         bool // it could be had with the destroyed key
	}{
		{name: "block", s: block, zeros: true, blank: true},
		{name: "crypto", s: crypto, zeros: true, underOldKey: true},
		{name: "crypto, no deallocate", s: kept, underOldKey: true},
		{name: "block, lie", fault: "lie:nothing", s: block, addressable: true, hidden: true, underOldKey: true},
		{name: "crypto, lie", fault: "lie:nothing", s: kept, addressable: true, hidden: true, underOldKey: true},
		{name: "block, hidden left", fault: "lie:hidden", s: block, hidden: true, zeros: true, underOldKey: true},
		{name: "crypto, hidden left", fault: "lie:hidden", s: kept, hidden: true, underOldKey: true},
		{name: "block, only deallocated", fault: "lie:deallocate", s: block, hidden: true, zeros: true, underOldKey: true},
		{name: "some skipped", fault: "skip-erase:100+50", s: block, addressable: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			var list []string
			if x.fault != "" {
				list = append(list, x.fault)
			}
			r, now := nvmeRack(t, Spec{}, list...)
			before, err := r.Medium("N")
			if err != nil {
				t.Fatal(err)
			}
			tr := open(t, r, "/dev/nvme0n1")
			if err := start(t, tr, x.s); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			if _, err := backend(t, tr).ReadAt(buf, 0); !errors.Is(err, errIO) {
				t.Errorf("a read during a sanitize: %v", err)
			}
			*now = now.Add(10 * time.Second)
			if s := log81(t, tr); s.Status() != nvme.SanitizeInProgress || s.SPROG < 6000 || s.SPROG > 14000 || s.SCDW10 != x.s.CDW10() || s.GlobalDataErased() {
				t.Errorf("after 10 s: %+v", s)
			}
			*now = now.Add(time.Hour)
			if s := log81(t, tr); s.Status() != nvme.SanitizeSucceeded || s.SPROG != 0xffff || !s.GlobalDataErased() {
				t.Errorf("at the end: %+v", s)
			}
			m, err := r.Medium("N")
			if err != nil {
				t.Fatal(err)
			}
			addressable, hidden, err := m.CountCanary(canary)
			if err != nil || addressable > 0 != x.addressable || hidden > 0 != x.hidden {
				t.Errorf("%d canaries, %d hidden, %v", addressable, hidden, err)
			}
			if _, err := backend(t, tr).ReadAt(buf, 0); err != nil || bytes.Equal(buf, make([]byte, 4096)) != x.zeros && x.fault != "skip-erase:100+50" {
				t.Errorf("reads %x…, %v", buf[:8], err)
			}
			if blank, err := m.Blank(); err != nil || blank != x.blank {
				t.Errorf("blank %v, %v", blank, err)
			}
			if a, h, err := m.CountUnder(before.Key(), canary); err != nil || (a+h > 0) != x.underOldKey && !x.addressable {
				t.Errorf("under the old key: %d, %v", a+h, err)
			}
			if _, err := backend(t, tr).WriteAt(buf, 0); err != nil {
				t.Fatal(err)
			}
			if log81(t, tr).GlobalDataErased() {
				t.Error("global data erased after a write")
			}
			closeIt(t, tr)
		})
	}
}

func TestSanitizeFailure(t *testing.T) {
	r, now := nvmeRack(t, Spec{}, "sanitize-fail:40")
	tr := open(t, r, "/dev/nvme0n1")
	defer closeIt(t, tr)
	for _, ause := range []bool{false, true} {
		if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase, AUSE: ause}); err != nil && !ause {
			t.Fatal(err)
		} else if ause && err == nil {
			t.Fatal("an unrestricted sanitize left a restricted failure")
		}
		*now = now.Add(time.Hour)
		if s := log81(t, tr); s.Status() != nvme.SanitizeFailed || s.GlobalDataErased() || s.Unrestricted() {
			t.Fatalf("%+v", s)
		}
	}
	if _, err := backend(t, tr).ReadAt(make([]byte, 512), 0); !errors.Is(err, errIO) {
		t.Errorf("a read after a failure: %v", err)
	}
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.ExitFailureMode}); err == nil {
		t.Error("a restricted failure was left by exiting")
	}
	if err := r.ClearFaults("N"); err != nil {
		t.Fatal(err)
	}
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase}); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Hour)
	if s := log81(t, tr); !s.Succeeded() {
		t.Errorf("%+v", s)
	}
}

func TestUnrestrictedFailureCanBeLeft(t *testing.T) {
	r, now := nvmeRack(t, Spec{}, "sanitize-fail:40")
	tr := open(t, r, "/dev/nvme0n1")
	defer closeIt(t, tr)
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase, AUSE: true}); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Hour)
	if s := log81(t, tr); s.Status() != nvme.SanitizeFailed || !s.Unrestricted() {
		t.Fatalf("%+v", s)
	}
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.ExitFailureMode}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	if _, err := backend(t, tr).ReadAt(buf, 0); err != nil || !bytes.Contains(buf, canary) {
		t.Errorf("the data is not there any more, %v", err)
	}
}

func TestSanitizeGoesOnWithoutTheHost(t *testing.T) {
	r, now := nvmeRack(t, Spec{}, "sanitize-power-cut:30", "progress-stuck:50")
	tr := open(t, r, "/dev/nvme0n1")
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase}); err != nil {
		t.Fatal(err)
	}
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase}); err == nil {
		t.Fatal("a second sanitize was begun while one runs")
	}
	*now = now.Add(time.Hour)
	if _, err := tr.NVMe(t.Context(), nvme.GetLogPage{LID: nvme.LogSanitize}.Command()); !errors.Is(err, devices.ErrGone) {
		t.Fatalf("without power: %v", err)
	}
	closeIt(t, tr)
	*now = now.Add(time.Hour)
	again, err := Open(r.Root()) // another process
	if err != nil {
		t.Fatal(err)
	}
	again.Clock = r.Clock
	tr = open(t, again, "/dev/nvme0n1")
	for _, x := range []struct {
		after time.Duration
		want  uint16 // hundredths, about
	}{{0, 30}, {20, 50}, {49, 50}, {10, 59}} {
		*now = now.Add(x.after * time.Second)
		if s := log81(t, tr); s.Status() != nvme.SanitizeInProgress || s.SPROG < x.want*655-700 || s.SPROG > x.want*655+700 {
			t.Errorf("after %d s: %+v", x.after, s)
		}
	}
	closeIt(t, tr)
	*now = now.Add(42 * time.Second) // nobody looks
	m, err := again.Medium("N")
	if err != nil {
		t.Fatal(err)
	}
	if blank, err := m.Blank(); err != nil || !blank || len(m.Begun()) != 1 {
		t.Errorf("blank %v, %d begun, %v", blank, len(m.Begun()), err)
	}
}

func TestWhatTheControllerRefuses(t *testing.T) {
	r, _ := nvmeRack(t, Spec{Sanitize: []string{"block"}, NoDeallocateInhibited: true}, "log-missing:smart")
	tr := open(t, r, "/dev/nvme0n1")
	defer closeIt(t, tr)
	for name, c := range map[string]*nvme.Command{
		"crypto": {Opcode: 0x84, CDW10: 4}, "a namespace": {Opcode: 0x84, CDW10: 2, NSID: 1}, "NDAS": {Opcode: 0x84, CDW10: 2 | 1<<9}, "no action": {Opcode: 0x84},
		"format": {Opcode: 0x80}, "log 02h": nvme.GetLogPage{LID: nvme.LogSMART}.Command(), "CNS": {Opcode: 0x06, CDW10: 0x77, Data: make([]byte, 4096)},
		"a namespace that cannot be": nvme.IdentifyNamespace{NSID: 99}.Command(),
	} {
		var refused *nvme.StatusError
		if err := send(t, tr, c); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	shared, err := r.Opener()(t.Context(), "/dev/nvme0n1", devices.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, shared)
	if err := start(t, shared, nvme.Sanitize{SANACT: nvme.BlockErase}); err == nil {
		t.Error("sanitized through a node opened for reading")
	}
	m, err := r.Medium("N")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Begun()) != 0 {
		t.Error("an operation was begun")
	}
}

// Encoders and decoders on one side, the emulator on the other, both written from the standard.
func TestNVMeRoundTrip(t *testing.T) {
	r, _ := nvmeRack(t, Spec{Profile: "nvme-two-namespaces", LogicalBlock: 4096})
	tr := open(t, r, "/dev/nvme0n1")
	defer closeIt(t, tr)
	id := nvme.IdentifyController{}.Command()
	list, all := nvme.NamespaceList{}.Command(), nvme.NamespaceList{Allocated: true}.Command()
	two, controllers := nvme.IdentifyNamespace{NSID: 2, Allocated: true}.Command(), nvme.ControllerList{}.Command()
	health := nvme.GetLogPage{LID: nvme.LogSMART}.Command()
	for _, c := range []*nvme.Command{id, list, all, two, controllers, health} {
		if err := send(t, tr, c); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := nvme.ParseController(id.Data); err != nil || c.SN != "N" || c.MN != "Virtual NVMe SSD 2NS" || !c.CryptoErase() || !c.BlockErase() || c.Overwrite() || c.CMIC != 0 || !c.NamespaceManagement() {
		t.Errorf("%+v, %v", c, err)
	}
	if l, _, err := nvme.ParseNamespaceList(list.Data, 0); err != nil || len(l) != 1 {
		t.Errorf("attached: %v, %v", l, err)
	}
	if l, _, err := nvme.ParseNamespaceList(all.Data, 0); err != nil || len(l) != 2 {
		t.Errorf("allocated: %v, %v", l, err)
	}
	if n, err := nvme.ParseNamespace(two.Data); err != nil || n.SizeBytes() != 512<<10 || n.LBADS != 12 {
		t.Errorf("%+v, %v", n, err)
	}
	if l, err := nvme.ParseControllerList(controllers.Data); err != nil || len(l) != 1 || l[0] != 1 {
		t.Errorf("controllers: %v, %v", l, err)
	}
	if s, err := nvme.ParseSMART(health.Data); err != nil || s.Temperature != 307 || s.PowerOnHours != 4380 {
		t.Errorf("%+v, %v", s, err)
	}
	if c := (nvme.IdentifyNamespace{NSID: 2}).Command(); send(t, tr, c) != nil {
		t.Error("identify of an unattached namespace is refused")
	} else if _, err := nvme.ParseNamespace(c.Data); !errors.Is(err, nvme.ErrNoNamespace) {
		t.Errorf("an unattached namespace: %v", err)
	}
	data := bytes.Repeat([]byte{0x5a}, 8192)
	w, err := nvme.Write{NSID: 1, SLBA: 3, Blocks: 2, Data: data, FUA: true}.Command()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8192)
	rd, err := nvme.Read{NSID: 1, SLBA: 3, Blocks: 2, Data: got}.Command()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(send(t, tr, w), send(t, tr, nvme.Flush{NSID: 1}.Command()), send(t, tr, rd)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read back: %v", err)
	}
	if _, err := backend(t, tr).ReadAt(got, 3*4096); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the block door sees something else: %v", err)
	}
	far, err := nvme.Read{NSID: 1, SLBA: 1 << 40, Blocks: 2, Data: got}.Command()
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t, tr, far); err == nil || err.Error() != "NVMe status 080h: LBA out of range" {
		t.Errorf("behind the end: %v", err)
	}
}

func TestSATARoundTrip(t *testing.T) {
	for profile, solid := range map[string]bool{"sata-ssd": true, "sata-hdd": false} {
		r := newRack(t, Spec{Profile: profile, Serial: "S-1", SizeBytes: 1 << 20})
		tr := open(t, r, "/dev/sda")
		issue := func(c *scsi.Command) scsi.Result {
			t.Helper()
			res, err := tr.SCSI(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		pass := func(a ata.Command) ([]byte, scsi.Result, error) {
			t.Helper()
			c, err := a.SCSI()
			if err != nil {
				t.Fatal(err)
			}
			res := issue(c)
			data, err := ata.ParseData(c, res)
			return data, res, err
		}
		inq, serial, naa, info := scsi.Inquiry{}.Command(), scsi.Inquiry{EVPD: true, PageCode: 0x80}.Command(), scsi.Inquiry{EVPD: true, PageCode: 0x83}.Command(), scsi.Inquiry{EVPD: true, PageCode: 0x89, Allocation: 572}.Command()
		if d, err := scsi.ParseInquiry(issue(inq).In(inq)); err != nil || d.Vendor != "ATA" || d.PeripheralType != 0 {
			t.Errorf("%+v, %v", d, err)
		}
		if s, err := scsi.ParseUnitSerial(issue(serial).In(serial)); err != nil || s != "S-1" {
			t.Errorf("%q, %v", s, err)
		}
		name, err := scsi.ParseNAA(issue(naa).In(naa))
		if err != nil || len(name) != 16 {
			t.Errorf("%q, %v", name, err)
		}
		capacity := scsi.ReadCapacity16{}.Command()
		if c, err := scsi.ParseCapacity(issue(capacity).In(capacity)); err != nil || c.SizeBytes() != 1<<20 || c.PhysicalPerExp != 3 {
			t.Errorf("%+v, %v", c, err)
		}
		page, _, err := pass(ata.IdentifyDevice())
		if err != nil {
			t.Fatal(err)
		}
		if copied, err := scsi.ParseATAInformation(issue(info).In(info)); err != nil || !bytes.Equal(copied, page) {
			t.Errorf("page 89h: %v", err)
		}
		i, err := ata.ParseIdentity(page)
		if err != nil || i.Serial != "S-1" || i.WWN != name || i.Sectors != 2048 || i.PhysicalBytes != 4096 || !i.SMARTSupported {
			t.Errorf("%+v, %v", i, err)
		}
		if is, known := i.SolidState(); is != solid || !known {
			t.Errorf("%s: solid %v, known %v", profile, is, known)
		}
		smart, _, err := pass(ata.SMARTReadData())
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ata.ParseSMART(smart); err != nil {
			t.Error(err)
		} else if c, ok := s.Temperature(); c != 34 || !ok {
			t.Errorf("%d °C", c)
		}
		for name, a := range map[string]ata.Command{"status": ata.SMARTReturnStatus(), "flush": ata.FlushCache()} {
			c, err := a.SCSI()
			if err != nil {
				t.Fatal(err)
			}
			g, err := ata.ParseRegisters(issue(c))
			if err != nil || g.Status != 0x50 {
				t.Errorf("%s: %+v, %v", name, g, err)
			}
			if exceeded, err := ata.ParseSMARTStatus(g); name == "status" && (err != nil || exceeded) {
				t.Errorf("SMART status: %v", err)
			}
		}
		var aborted *ata.Error
		c, err := ata.Command{Protocol: ata.NonData, Extend: true, Opcode: 0x77, CheckCondition: true, Timeout: time.Second}.SCSI()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ata.ParseRegisters(issue(c)); !errors.As(err, &aborted) {
			t.Errorf("a command that the drive does not have: %v", err)
		}
		if res := issue(&scsi.Command{CDB: []byte{0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Timeout: time.Second}); res.Err() == nil {
			t.Error("a command that the translation does not have was carried out")
		}
		closeIt(t, tr)
	}
}

// The answer of a command is lost in a reset; what the command did is not.
func TestResetLosesTheAnswer(t *testing.T) {
	r, _ := nvmeRack(t, Spec{}, "reset:1")
	tr := open(t, r, "/dev/nvme0n1")
	defer closeIt(t, tr)
	if err := start(t, tr, nvme.Sanitize{SANACT: nvme.BlockErase}); err == nil {
		t.Fatal("an answer came")
	}
	if s := log81(t, tr); s.Status() != nvme.SanitizeInProgress {
		t.Errorf("%+v", s)
	}
}

package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// answering is a node of which a test answers some commands itself.
type answering struct {
	devices.Transport
	answer func(node string, c *scsi.Command) (r scsi.Result, err error, answered bool)
	node   string
	bytes  int64 // that the node shows; 0 for all of the drive
}

func (a answering) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if a.answer != nil {
		if r, err, answered := a.answer(a.node, c); answered {
			return r, err
		}
	}
	return a.Transport.SCSI(ctx, c)
}

func (a answering) Geometry(ctx context.Context) (devices.Geometry, error) {
	g, err := a.Transport.Geometry(ctx)
	if a.bytes > 0 {
		g.SizeBytes = a.bytes
	}
	return g, err
}

// answers puts such nodes between the site's agent and its drives.
func (s *site) answers(c *clock, size int64, answer func(node string, c *scsi.Command) (scsi.Result, error, bool)) {
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return answering{tr, answer, node, size}, err
	}, nil), c)
}

func refusedFor(p sanitize.Plan, code string) bool {
	return len(p.Drives) == 0 && len(p.Refused) == 1 && slices.ContainsFunc(p.Refused[0].Reasons, func(r devices.Reason) bool { return r.Code == code })
}

// A node that shows less than the drive has, as behind a dock that knows no more than 2 TB, hides the
// rest from whatever the host writes.
func TestNodeThatShowsLess(t *testing.T) {
	for _, profile := range []string{"sata-old", "usb-sata", "sas-hdd"} {
		s, c := erasing(t, virtual.Spec{Profile: profile})
		if err := os.WriteFile(filepath.Join(s.rack.Root(), "sys/block/sda/size"), []byte("4096\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.answers(c, 2<<20, nil)
		if p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "/dev/sda"); !refusedFor(p, devices.ReasonNodeSmaller) {
			t.Errorf("%s: %+v %+v", profile, p.Drives, p.Refused)
		}
	}
	// The drive's own erase reaches all of it, and it is said what was not read back.
	s, c := erasing(t, virtual.Spec{Profile: "sas-hdd"})
	if err := os.WriteFile(filepath.Join(s.rack.Root(), "sys/block/sda/size"), []byte("4096\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.answers(c, 2<<20, nil)
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "/dev/sda"))
	want(t, r, sanitize.Sanitized, "")
	if n, hidden := s.canaries(); n+hidden != 0 || !strings.Contains(fmt.Sprint(r.Drive.Excludes), "2097152 bytes") {
		t.Errorf("%d canaries, %+v", n, r.Drive.Excludes)
	}
}

// What cannot be asked is not taken for an answer: how many units a drive has, who has reserved it.
func TestWhatCannotBeAskedIsNotKnown(t *testing.T) {
	whole(t)
	for name, x := range map[string]struct {
		profile string
		opcode  byte
		half    bool // the second unit has no node
	}{
		"units of half a drive": {"sas-dual", 0xa0, true}, "units": {"sas-hdd", 0xa0, false}, "reservations": {"sas-hdd", 0x5e, false}, "mode pages": {"sas-hdd", 0x5a, false},
	} {
		s, c := erasing(t, virtual.Spec{Profile: x.profile})
		if x.half {
			if err := os.Remove(filepath.Join(s.rack.Root(), "sys/block/sdb")); err != nil {
				t.Fatal(err)
			}
		}
		s.answers(c, 0, func(_ string, cmd *scsi.Command) (scsi.Result, error, bool) {
			return scsi.Result{HostStatus: 3}, nil, cmd.CDB[0] == x.opcode
		})
		if p := s.plan(sanitize.Request{Method: sanitize.Purge}, "/dev/sda"); len(p.Drives) != 0 || len(p.Refused) != 1 {
			t.Errorf("%s: %+v", name, p.Drives)
		}
	}
}

// What holds for one logical unit holds for the drive.
func TestEveryUnitIsAsked(t *testing.T) {
	whole(t)
	s, c := erasing(t, virtual.Spec{Profile: "sas-dual"})
	s.answers(c, 0, func(node string, cmd *scsi.Command) (scsi.Result, error, bool) {
		if cmd.CDB[0] != 0x5e || node != "/dev/sdb" {
			return scsi.Result{}, nil, false
		}
		return scsi.Result{Transferred: copy(cmd.Data, []byte{0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0xab, 0xcd})}, nil, true
	})
	if p := s.plan(sanitize.Request{Method: sanitize.Purge}, "A"); !refusedFor(p, "reserved") {
		t.Errorf("%+v %+v", p.Drives, p.Refused)
	}
}

// The host stops wherever it may while a password comes off after an erase that failed. Security that is
// off by our own hand is never taken for an erase, also where nothing is read back.
func TestPasswordThatComesOffIsNoErase(t *testing.T) {
	whole(t)
	for _, mode := range []sanitize.VerifyMode{sanitize.VerifyStatus, sanitize.VerifySampled} {
		s, c := erasing(t, virtual.Spec{Profile: "sata-hdd"}, "refuse:erase-unit")
		request := securityErase
		request.Verify = mode
		p := s.plan(request, "A")
		m := &moments{t: t, s: s, c: c, dir: t.TempDir()}
		a := s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
			tr, err := s.rack.Opener()(ctx, node, access)
			if err != nil || access != devices.Exclusive {
				return tr, err
			}
			return cutting{tr, m}, nil
		}, nil), c)
		a.testOnlyObserve = func(r journal.Record) { m.cut("after-" + r.Kind) }
		j, err := a.Start(t.Context(), p, Started{}, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], sanitize.Failed, "")
		for _, at := range m.list {
			rack, err := virtual.Open(filepath.Join(at.dir, "rack"))
			if err != nil {
				t.Fatal(err)
			}
			clock := &clock{now: at.now.Add(time.Minute)}
			rack.Clock = clock.Now
			after := &site{t: t, rack: rack, state: filepath.Join(at.dir, "state")}
			after.agent = after.timed(rack.Host(nil), clock)
			job, err := after.agent.Resume(t.Context(), jobName(p), Observer{})
			if err != nil {
				t.Fatal(err)
			}
			if r := job.Drives[0]; r.Outcome != sanitize.Failed {
				t.Errorf("%s, %s: %s %+v", mode, at.name, r.Outcome, r.Reasons)
			}
			if after.medium().Locked() {
				t.Errorf("%s, %s: it has a password", mode, at.name)
			}
		}
	}
}

// An adapter that loses registers is never asked to change how much a drive shows: the drive would
// shrink to one block, or hide its blocks again at the next power-on.
func TestAdaptersThatLoseRegisters(t *testing.T) {
	whole(t)
	for _, fault := range []string{"hba-zero:lba", "hba-zero:count"} {
		for _, spec := range []virtual.Spec{{Profile: "sata-hdd", HPABytes: 1 << 20}, {Profile: "sata-ssd", AMABytes: 1 << 20}} {
			s, _ := erasing(t, spec, fault)
			r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A"))
			want(t, r, sanitize.Failed, "does not carry all ATA registers")
			if d := s.drive(); d.SizeBytes != 3<<20 || len(d.Hidden) != 1 {
				t.Errorf("%s on %s: %d bytes, hidden %+v", fault, spec.Profile, d.SizeBytes, d.Hidden)
			}
			if n, _ := s.canaries(); n < 200000 {
				t.Errorf("%s on %s: it was overwritten in part: %d canaries are left", fault, spec.Profile, n)
			}
		}
	}
	// What the drive does by itself reaches hidden blocks: it is done, and said what was not read back.
	s, _ := erasing(t, virtual.Spec{Profile: "sata-ssd", AMABytes: 1 << 20}, "hba-zero:count")
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}, "A"))
	want(t, r, sanitize.Sanitized, "")
	report := s.verify(r)
	if n, hidden := s.canaries(); n+hidden != 0 || report.Code != attest.CodeOK || !strings.Contains(strings.Join(report.Result.Sanitization.Excludes, "\n"), "1048576 bytes hidden") {
		t.Errorf("%d canaries, %d %v", n, report.Code, report.Reasons)
	}
}

// A drive that does not take the change, after a power cycle either, is sanitized as it is, or not
// overwritten by the host at all.
func TestHiddenAreaThatIsRefused(t *testing.T) {
	whole(t)
	for technique, outcome := range map[sanitize.Technique]sanitize.Outcome{sanitize.DriveOverwrite: sanitize.Sanitized, sanitize.HostOverwrite: sanitize.Failed} {
		s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd", HPABytes: 1 << 20}, "refuse:set-max")
		r := s.run(s.plan(sanitize.Request{Technique: technique}, "A"))
		want(t, r, sanitize.Interrupted, "")
		if r.Reasons[0].Code != ReasonPowerCycle {
			t.Errorf("%+v", r.Reasons)
		}
		if err := s.rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
		j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], outcome, "")
		if n, _ := s.canaries(); (n == 0) != (outcome == sanitize.Sanitized) {
			t.Errorf("%s: %d canaries", technique, n)
		}
	}
}

// Whether a drive hides blocks must be known before the host's overwrite of it is called clear.
func TestOverlayThatCannotBeAsked(t *testing.T) {
	whole(t)
	s, c := erasing(t, virtual.Spec{Profile: "sata-hdd-dco"})
	aborted := []byte{0x72, 0x0b, 0, 0, 0, 0, 0, 14, 9, 12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x51}
	s.answers(c, 0, func(_ string, cmd *scsi.Command) (scsi.Result, error, bool) {
		return scsi.Result{Status: 2, DriverStatus: 8, Sense: aborted}, nil, cmd.CDB[0] == 0x85 && cmd.CDB[14] == 0xb1
	})
	if p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A"); !refusedFor(p, devices.ReasonHiddenFrozen) {
		t.Errorf("%+v %+v", p.Drives, p.Refused)
	}
	p := s.plan(sanitize.Request{Method: sanitize.Purge}, "A")
	if len(p.Drives) != 1 || !slices.ContainsFunc(p.Drives[0].Excludes, func(r devices.Reason) bool { return r.Code == devices.ReasonHiddenFrozen }) {
		t.Errorf("%+v", p)
	}
}

// Secrets that are lost, or another drive's, are never tried: a drive counts wrong passwords. Such a job
// can be given up, and its certificate says that the drive stays locked.
func TestLostSecrets(t *testing.T) {
	whole(t)
	for _, content := range []string{"", `{"keys":{},"passwords":{"1":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`} {
		s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd"}, "sanitize-power-cut:50")
		r := s.run(s.plan(securityErase, "A"))
		want(t, r, sanitize.Interrupted, "")
		name := s.agent.driveFile(r.Job, r.Drive.ID, secretsFile)
		err := os.Remove(name)
		if content != "" {
			err = os.WriteFile(name, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
			if err != nil {
				t.Fatal(err)
			}
			want(t, j.Drives[0], sanitize.Interrupted, "do not have the password")
		}
		if d := s.drive(); d.Security.CountExpired {
			t.Error("wrong passwords were tried")
		}
		j, err := s.agent.Abandon(t.Context(), r.Job, "no secrets")
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], sanitize.Failed, "its password is lost")
	}
}

// A failed sanitize whose failure another tool has left looks like a drive at rest. A job that was cut
// off before its own command arrived does not take that for success.
func TestFailureThatAnotherToolLeft(t *testing.T) {
	whole(t)
	for _, mode := range []sanitize.VerifyMode{sanitize.VerifyStatus, sanitize.VerifySampled} {
		s, c := erasing(t, virtual.Spec{Profile: "sas-hdd", EraseSeconds: 40}, "sanitize-fail:40")
		request := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, FailureMode: sanitize.Unrestricted, Verify: mode}
		want(t, s.run(s.plan(request, "A")), sanitize.Failed, "")
		if err := s.rack.ClearFaults("A"); err != nil {
			t.Fatal(err)
		}
		stop := true
		s.answers(c, 0, func(_ string, cmd *scsi.Command) (scsi.Result, error, bool) {
			return scsi.Result{}, devices.ErrGone, stop && bytes.HasPrefix(cmd.CDB, []byte{0x48})
		})
		r := s.run(s.plan(request, "A"))
		want(t, r, sanitize.Interrupted, "")
		stop = false
		tr, err := s.rack.Opener()(t.Context(), "/dev/sda", devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first is told of the power-on
			if _, err := tr.SCSI(t.Context(), &scsi.Command{CDB: []byte{0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0}, Timeout: time.Second}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], sanitize.Interrupted, "does not say so any more")
	}
}

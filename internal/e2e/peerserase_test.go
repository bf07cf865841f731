package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

const (
	eraseTime = 10 * time.Hour // of the drives here, as no test waits
	sure      = "--yes-i-know-what-i-am-doing"
)

// peerErase is an erase by another tool, and the technique of ours that does the same.
type peerErase struct {
	profile string
	command []string
	begun   string
	ours    sanitize.Technique
	method  sanitize.Method
	fails   bool // by a fault
	takes   time.Duration
	status  []string // what tells how far it is
	running string   // what it says then
	idle    string
	failed  string
}

func (e peerErase) scsi() peerErase {
	e.status, e.running, e.idle, e.failed = []string{"sg_requests"}, `sanitize in progress\n\s+Progress indication: (\d+)\.`, "Sense key: No Sense", "Sense key: Medium Error\nAdditional sense: Sanitize command failed"
	if e.ours == sanitize.Format {
		e.running, e.failed = strings.Replace(e.running, "sanitize", "format", 1), strings.Replace(e.failed, "Sanitize", "Format", 1)
	}
	return e
}

func (e peerErase) ata() peerErase {
	e.status, e.running, e.idle = []string{"hdparm", "--sanitize-status"}, `SD2 Sanitize operation In Process\n\s+Progress:.*\((\d+)%\)`, "SD0 Sanitize Idle\n.*Last Sanitize Operation Completed Without Error"
	e.failed = "SD3 Sanitize Operation Failed"
	return e
}

// technique is ours, or one that the drive has.
func (e peerErase) technique() sanitize.Technique {
	if e.ours == "" {
		return sanitize.BlockErase
	}
	return e.ours
}

var peerErases = []peerErase{
	peerErase{profile: "sas-ssd", command: []string{"sg_sanitize", "--block", "--quick", "--early"}, begun: "48:02", ours: sanitize.BlockErase, method: sanitize.Purge, takes: eraseTime}.scsi(),
	peerErase{profile: "sas-ssd", command: []string{"sg_sanitize", "--crypto", "--quick", "--early"}, begun: "48:03", ours: sanitize.CryptographicErase, method: sanitize.Purge, takes: eraseTime / 2}.scsi(),
	peerErase{profile: "sas-hdd", command: []string{"sg_sanitize", "--overwrite", "--zero", "--quick", "--early"}, begun: "48:01", ours: sanitize.DriveOverwrite, method: sanitize.Purge, takes: eraseTime}.scsi(),
	peerErase{profile: "sas-hdd", command: []string{"sg_format", "--format", "--quick", "--early"}, begun: "04", ours: sanitize.Format, method: sanitize.Clear, takes: eraseTime}.scsi(),
	peerErase{profile: "sata-ssd", command: []string{"hdparm", sure, "--sanitize-block-erase"}, begun: "b4:0012", ours: sanitize.BlockErase, method: sanitize.Purge, takes: eraseTime}.ata(),
	peerErase{profile: "sata-ssd", command: []string{"hdparm", sure, "--sanitize-crypto-scramble"}, begun: "b4:0011", ours: sanitize.CryptographicErase, method: sanitize.Purge, takes: eraseTime / 2}.ata(),
	// It sends a COUNT of 0, which is 16 passes.
	peerErase{profile: "sata-hdd", command: []string{"hdparm", sure, "--sanitize-overwrite", "hex:DEADBEEF"}, begun: "b4:0014", ours: sanitize.DriveOverwrite, method: sanitize.Purge, takes: 16 * eraseTime}.ata(),
	peerErase{profile: "sas-ssd", command: []string{"sg_sanitize", "--block", "--quick", "--early"}, begun: "48:02", takes: eraseTime, fails: true}.scsi(),
	peerErase{profile: "sas-hdd", command: []string{"sg_format", "--format", "--quick", "--early"}, begun: "04", ours: sanitize.Format, takes: eraseTime, fails: true}.scsi(),
	peerErase{profile: "sata-ssd", command: []string{"hdparm", sure, "--sanitize-block-erase"}, begun: "b4:0012", takes: eraseTime, fails: true}.ata(),
}

// twin has ours done to a drive of the same kind, on the rack and in no guest, and says what is left.
func (b *bench) twin(l *leap, serial string, e peerErase) (begun []string, addressable, hidden int64) {
	b.t.Helper()
	if _, err := b.rack.Add(virtual.Spec{Profile: e.profile, Serial: serial, SizeBytes: 8 << 20, EraseSeconds: int64(eraseTime / time.Second)}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.rack.Populate(serial, canary); err != nil {
		b.t.Fatal(err)
	}
	a, err := agent.Open(agent.Options{Host: b.rack.Host(nil), StateDir: filepath.Join(b.t.TempDir(), "state"), Owner: agent.Owner{Kind: "rack", ID: b.rack.ID()}, Version: "test", Now: l.Now, Wait: l.Wait})
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := a.Plan(b.t.Context(), []string{serial}, sanitize.Request{Method: e.method, Technique: e.ours})
	if err != nil {
		b.t.Fatal(err)
	}
	job, err := a.Start(b.t.Context(), p, agent.Started{}, agent.Observer{})
	if err != nil || len(job.Drives) != 1 || job.Drives[0].Outcome != sanitize.Sanitized {
		b.t.Fatalf("%s on %s: %+v, %v", e.ours, e.profile, job.Drives, err)
	}
	addressable, hidden = b.left(serial)
	return b.begun(serial), addressable, hidden
}

// leftAlone makes sure that a drive which is at work by somebody else's order is reported and that nothing
// of ours touches it.
func (s seen) leftAlone(word, ours string) {
	s.t.Helper()
	begun := s.b.begun(s.serial)
	d := s.drive()
	if d.State != devices.StateBlocked || !hasReason(d, devices.ReasonSanitizing) {
		s.t.Errorf("listed as %s: %+v", d.State, d.Reasons)
	}
	if out, code := s.expunge("recover"); code == 0 || find(out, s.serial+`: (it is \w+ itself), by no order of this state: it is left alone$`) != "it is "+word+" itself" {
		s.t.Errorf("recover: exit %d, %s", code, out)
	}
	for _, technique := range []string{"host-overwrite", ours} {
		if out, code := s.expunge("run", s.serial, "--technique", technique, "--confirm", s.serial); code == 0 {
			s.t.Errorf("%s while it is %s itself: %s", technique, word, out)
		}
	}
	if now := s.b.begun(s.serial); !slices.Equal(now, begun) {
		s.t.Errorf("begun %q, was %q", now, begun)
	}
}

func hasReason(d devices.Drive, code string) bool {
	return slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == code })
}

func hasNote(d devices.Drive, code string) bool {
	return slices.ContainsFunc(d.Notes, func(r devices.Reason) bool { return r.Code == code })
}

// What other tools order, drives carry out as they do what ours orders; meanwhile, after it and after it
// failed, the program and the tools say the same of them.
func TestPeersErase(t *testing.T) {
	t.Parallel()
	tools := peerTools(t, peers...)
	b := newBench(t)
	l := b.leaping()
	type twin struct {
		begun               []string
		addressable, hidden int64
	}
	twins := make([]twin, len(peerErases))
	for i, e := range peerErases {
		if !e.fails {
			twins[i].begun, twins[i].addressable, twins[i].hidden = b.twin(l, "TWIN"+serialOf(i), e)
		}
	}
	for i, e := range peerErases {
		b.add(virtual.Spec{Profile: e.profile, Serial: serialOf(i), EraseSeconds: int64(eraseTime / time.Second)})
		if e.fails {
			if err := b.rack.Fault(serialOf(i), virtual.Fault{Kind: virtual.SanitizeFail, Count: 80}); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := b.bootWith(tools)
	for i, e := range peerErases {
		name := e.profile + " " + strings.Join(e.command[:2], " ")
		if e.fails {
			name += " fails"
		}
		t.Run(name, func(t *testing.T) {
			s := b.see(g.in(t), uint16(i), serialOf(i))
			s.Must(append(e.command, s.sg)...)
			if begun := b.begun(s.serial); !slices.Equal(begun, []string{e.begun}) {
				t.Fatalf("begun %q", begun)
			}
			l.pass(e.takes / 2)
			word, d := "sanitizing", s.drive()
			percent := find(s.text(e.status...), e.running)
			if e.ours == sanitize.Format {
				word = "formatting"
				s.same("progress", percent, find(d.Reasons[0].Message, `\((\d+) %\)`))
			} else {
				s.same("progress", percent, d.Sanitize.Percent)
			}
			if e.status[0] == "sg_requests" { // in descriptor format, too
				s.same("sg_requests", says(s.text("sg_requests", "-d"), "^Descriptor format.*\n.*"+word[:4]+".* in progress"), true)
				s.same("progress", find(s.text("sg_requests", "-p"), `Progress indication: (\d+)\.`), percent)
			}
			if percent != "50" {
				t.Errorf("half way, it is said to be at %q %%", percent)
			}
			s.leftAlone(word, strings.ReplaceAll(string(e.technique()), " ", "-"))
			l.pass(e.takes)
			status, now := s.text(e.status...), s.drive()
			addressable, hidden := b.left(s.serial)
			if e.fails {
				s.failed(e, status, now)
				return
			}
			s.same(e.status[0], says(status, e.idle), true)
			if now.State != devices.StateReady || now.Sanitize.State != devices.SanitizeIdle || len(now.Notes) != 0 {
				t.Errorf("afterwards %s, %s, %+v %+v", now.State, now.Sanitize.State, now.Reasons, now.Notes)
			}
			if addressable != 0 || e.method == sanitize.Purge && hidden != 0 {
				t.Errorf("%d and %d canaries are left", addressable, hidden)
			}
			if x := twins[i]; addressable != x.addressable || hidden != x.hidden || !slices.Equal(x.begun, []string{e.begun}) {
				t.Errorf("%d and %d canaries; ours began %q and left %d and %d", addressable, hidden, x.begun, x.addressable, x.hidden)
			}
		})
	}
}

// failed judges a drive whose erase by another tool failed: both say so, and it takes another sanitize
// and no write.
func (s seen) failed(e peerErase, status string, d devices.Drive) {
	s.t.Helper()
	s.same(e.status[0], says(status, e.failed), true)
	code := "sanitize_failed"
	if e.ours == sanitize.Format {
		code = "format_failed"
	} else if d.Sanitize.State != devices.SanitizeFailed {
		s.t.Errorf("sanitize: %s", d.Sanitize.State)
	}
	if !hasNote(d, code) || d.FormatFailed != (code == "format_failed") {
		s.t.Errorf("%+v", d.Notes)
	}
	if out, exit := s.expunge("recover"); exit == 0 || !strings.Contains(out, s.serial+": its latest "+strings.TrimSuffix(code, "_failed")+" failed") {
		s.t.Errorf("recover: exit %d, %s", exit, out)
	}
	if _, exit := s.expunge("plan", s.serial, "--technique", "host-overwrite"); exit == 0 {
		s.t.Error("a host overwrite is planned")
	}
	if begun := s.b.begun(s.serial); len(begun) != 1 {
		s.t.Errorf("begun %q", begun)
	}
}

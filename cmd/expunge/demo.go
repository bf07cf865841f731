package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/expunge-dev/expunge/agent/api"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/devices/virtual"
)

func (a *app) demoCommand() *cobra.Command {
	out := ""
	c := &cobra.Command{
		Use: "demo", Short: "show the whole life of some virtual drives, failures included; no root, no hardware", Args: cobra.NoArgs,
		RunE: a.acts("demo", func(ctx context.Context, _ []string) (answer, error) { return answer{}, a.demo(ctx, out) }),
	}
	c.Flags().StringVar(&out, "out", "", "keep the rack and its certificates in `DIR`, which must be empty or not there")
	return c
}

// demo is one session on a rack. Every command in it is run as a person would run it, and its
// exit code compared with what it must be.
type demo struct {
	app   *app
	ctx   context.Context
	dir   string
	wrong []string
}

// The drives of the demo, by what becomes of them.
const (
	demoGood   = "DEMO-GOOD"
	demoWorn   = "DEMO-WORN"
	demoLiar   = "DEMO-LIAR"
	demoInUse  = "DEMO-IN-USE"
	demoSystem = "DEMO-SYSTEM"

	demoSATA   = "DEMO-SATA"
	demoNVMe   = "DEMO-NVME"
	demoFalse  = "DEMO-NVME-LIAR"
	demoFails  = "DEMO-NVME-FAILS"
	demoShared = "DEMO-NVME-SHARED"

	demoSSD    = "DEMO-SATA-SSD"
	demoHidden = "DEMO-SATA-HPA"
	demoLocked = "DEMO-SATA-LOCKED"
	demoDock   = "DEMO-USB-DOCK"
	demoOdd    = "DEMO-SAS-520"
	demoDual   = "DEMO-SAS-DUAL"
)

func (a *app) demo(ctx context.Context, out string) (err error) {
	began := time.Now()
	if a.json != "" {
		narrated := *a
		narrated.json, narrated.stdout = "", a.stderr // standard output is the document's
		a = &narrated
	}
	dir, keep := out, out != ""
	if !keep {
		temporary, err := os.MkdirTemp("", "expunge-demo-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
		dir = filepath.Join(temporary, "rack")
	}
	d := &demo{app: a, ctx: ctx, dir: dir}
	rack, err := d.build()
	if err != nil {
		return err
	}
	if err := d.session(rack); err != nil {
		return err
	}
	if len(d.wrong) > 0 {
		return &problem{code: exitInternal, name: "demo", err: errors.New("not as expected: " + strings.Join(d.wrong, "; ")), hint: "this is a fault of expunge: please report it"}
	}
	fmt.Fprintf(a.stdout, "\nEvery outcome was the expected one (%.1f s).\n", time.Since(began).Seconds())
	if keep {
		fmt.Fprintf(a.stdout, "Look around in %s, or try:\n  expunge --rack %s jobs\n  expunge --rack %s certificate show %s\n", dir, quote(dir), quote(dir), demoGood)
		return nil
	}
	fmt.Fprintln(a.stdout, "Next, try it yourself:\n  expunge rack create /tmp/rack\n  expunge --rack /tmp/rack list\n  expunge --rack /tmp/rack plan SERIAL -o plan.json\nand on this machine, which only looks:\n  expunge list")
	return nil
}

func (d *demo) build() (*virtual.Rack, error) {
	rack, err := virtual.Create(d.dir)
	if err != nil {
		return nil, usage("--out names a directory that is empty or not there", err)
	}
	for _, x := range []struct{ serial, profile string }{
		{demoGood, "plain"}, {demoWorn, "plain"}, {demoLiar, "plain"}, {demoInUse, "plain"}, {demoSystem, "plain"}, {demoSATA, "sata-old"},
		{demoNVMe, "nvme-two-namespaces"}, {demoFalse, "nvme-ssd"}, {demoFails, "nvme-ssd"}, {demoShared, "nvme-shared"},
		{demoSSD, "sata-ssd"}, {demoHidden, "sata-hdd-hpa"}, {demoLocked, "sata-hdd"}, {demoDock, "usb-sata-drops"}, {demoOdd, "sas-520"}, {demoDual, "sas-dual"},
	} {
		if err := addDrive(rack, virtual.Spec{Serial: x.serial, Profile: x.profile, SizeBytes: 32 << 20, EraseSeconds: 1}); err != nil {
			return nil, err
		}
	}
	return rack, errors.Join(
		rack.Fault(demoFalse, virtual.Fault{Kind: virtual.Lie, Word: virtual.LieNothing}), rack.Fault(demoFails, virtual.Fault{Kind: virtual.SanitizeFail, Count: 60}),
		rack.Fault(demoLocked, virtual.Fault{Kind: virtual.SanitizePowerCut, Count: 50}),
		rack.Use(demoInUse, "mounted:/srv/data"), rack.Use(demoSystem, "mounted:/"),
		rack.Fault(demoWorn, virtual.Fault{Kind: virtual.WriteError, Block: 20000, Count: 8}),
		rack.Fault(demoLiar, virtual.Fault{Kind: virtual.DropWrites, Block: 30000, Count: 9000}),
	)
}

// step tells what comes.
func (d *demo) step(format string, args ...any) {
	fmt.Fprintf(d.app.stdout, "\n== %s\n", fmt.Sprintf(format, args...))
}

// expunge runs a command line on the rack and compares its exit code.
func (d *demo) expunge(want int, args ...string) {
	shown := make([]string, len(args))
	for i, arg := range args {
		shown[i] = quote(strings.ReplaceAll(arg, d.dir, "$RACK"))
	}
	fmt.Fprintf(d.app.stdout, "$ expunge --rack $RACK %s\n", strings.ReplaceAll(strings.Join(shown, " "), "'", ""))
	to := replaceWriter{d.app.stdout, d.dir, "$RACK"}
	got := (&app{stdin: strings.NewReader(""), stdout: to, stderr: to, ctx: d.ctx}).execute(append([]string{"--rack", d.dir}, args...))
	fmt.Fprintf(d.app.stdout, "(exit status %d)\n", got)
	d.check(got == want, "exit status %d of %q, want %d", got, strings.Join(args, " "), want)
}

// ask runs a command line for its JSON.
func (d *demo) ask(into any, args ...string) error {
	var out bytes.Buffer
	(&app{stdin: strings.NewReader(""), stdout: &out, stderr: io.Discard, ctx: d.ctx}).execute(append([]string{"--rack", d.dir, "--json"}, args...))
	return json.Unmarshal(out.Bytes(), into)
}

func (d *demo) check(ok bool, format string, args ...any) {
	if !ok {
		d.wrong = append(d.wrong, fmt.Sprintf(format, args...))
	}
}

type replaceWriter struct {
	to       io.Writer
	from, by string
}

func (w replaceWriter) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.to, strings.ReplaceAll(string(p), w.from, w.by))
	return len(p), err
}

func (d *demo) session(rack *virtual.Rack) error {
	d.step("A virtual host with sixteen drives full of old data. Two are in use, one is shared with another host; others are worn out, lose writes, lie or fail.")
	d.expunge(exitOK, "list")

	d.step("A drive in use, or that the system runs from, is refused. There is no --force.")
	d.expunge(exitRefused, "plan", demoInUse)
	d.expunge(exitRefused, "plan", demoSystem)
	d.expunge(exitRefused, "plan", demoShared, "--method", "purge")

	d.step("A method that this drive cannot reach is refused, never replaced by a weaker one.")
	d.expunge(exitCannot, "plan", demoGood, "--method", "purge")

	d.step("A plan says what will be done and what not, and touches nothing.")
	file := filepath.Join(d.dir, "plan.json")
	d.expunge(exitOK, "plan", demoGood, demoWorn, demoLiar, demoSATA, "-o", file)
	digest, err := planDigest(file)
	if err != nil {
		return err
	}

	d.step("It runs once, after its digest was confirmed. Each drive ends as what it is.")
	d.expunge(exitRefused, "run", "--plan", file)
	d.expunge(exitUnproven, "run", "--plan", file, "--confirm", digest[:12])

	d.step("Drives that erase themselves. Success is not taken on their word: markers must be gone, and one drive lies.")
	purge := filepath.Join(d.dir, "purge.json")
	d.expunge(exitOK, "plan", demoNVMe, demoFalse, demoFails, "--method", "purge", "-o", purge)
	if digest, err = planDigest(purge); err != nil {
		return err
	}
	d.expunge(exitUnproven, "run", "--plan", purge, "--confirm", digest[:12])

	d.step("SATA and SAS drives: blocks hidden from the host are made accessible first, odd blocks are no obstacle, both actuators are done.")
	drives := filepath.Join(d.dir, "drives.json")
	d.expunge(exitOK, "plan", demoSSD, demoHidden, demoOdd, demoDual, "--method", "purge", "-o", drives)
	if digest, err = planDigest(drives); err != nil {
		return err
	}
	d.expunge(exitOK, "run", "--plan", drives, "--confirm", digest[:12])

	d.step("A dock that does not pass on how a drive answers: nothing could be proven by the drive's own erase.")
	d.expunge(exitCannot, "plan", demoDock, "--method", "purge")

	d.step("Power fails in the middle of a security erase, and the drive comes back locked by a password that only the job has.")
	d.expunge(exitInterrupted, "run", demoLocked, "--technique", "security-erase", "--confirm", demoLocked)
	d.expunge(exitOK, "show", demoLocked)

	d.step("What was left in the middle of something is found again: that erase is finished. The drive whose sanitize failed takes nothing but another.")
	d.expunge(exitFailed, "recover")
	if err := d.outcomes(rack); err != nil {
		return err
	}

	d.step("Each has a certificate, the failures too. A stranger checks them with the public key alone.")
	d.expunge(exitOK, "certificate", "list")
	return d.certificates()
}

func planDigest(file string) (string, error) {
	var plan struct {
		Digest string `json:"digest"`
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &plan)
	}
	if err != nil || len(plan.Digest) < 12 {
		return "", fmt.Errorf("read the plan back: %w", err)
	}
	return plan.Digest, nil
}

// outcomes compares what was reported with what is on the media.
func (d *demo) outcomes(rack *virtual.Rack) error {
	var jobs struct {
		Items []struct {
			Drives []api.JobDrive `json:"drives"`
		} `json:"items"`
	}
	if err := d.ask(&jobs, "jobs"); err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	var drives []api.JobDrive
	for _, j := range jobs.Items {
		drives = append(drives, j.Drives...)
	}
	d.step("What is really on the media, read below the drives, with every key that they still have:")
	for _, want := range []struct {
		serial, outcome string
		left, hidden    bool
	}{
		{demoGood, "sanitized", false, true}, {demoWorn, "exceptions", true, true}, {demoLiar, "unproven", true, true}, {demoSATA, "sanitized", false, true},
		{demoNVMe, "sanitized", false, false}, {demoFalse, "unproven", true, true}, {demoFails, "failed", true, true},
		{demoSSD, "sanitized", false, false}, {demoHidden, "sanitized", false, false}, {demoOdd, "sanitized", false, false}, {demoDual, "sanitized", false, false},
		{demoLocked, "sanitized", false, true}, {demoDock, "", true, true},
		{demoInUse, "", true, true}, {demoSystem, "", true, true}, {demoShared, "", true, true},
	} {
		medium, err := rack.Medium(want.serial)
		if err != nil {
			return err
		}
		left, hidden, err := medium.CountCanary(oldData)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.app.stdout, "%-17s %7d old records in blocks that the host can address, %6d in hidden ones\n", want.serial, left, hidden)
		d.check((left > 0) == want.left && (hidden > 0) == want.hidden, "%d old records on %s, %d hidden", left, want.serial, hidden)
		at := slices.IndexFunc(drives, func(i api.JobDrive) bool { return i.Serial == want.serial })
		outcome := ""
		if at >= 0 {
			outcome = string(drives[at].Outcome)
		}
		d.check(outcome == want.outcome, "outcome %q of %s, want %q", outcome, want.serial, want.outcome)
	}
	return nil
}

func (d *demo) certificates() error {
	var list struct {
		Items []certificateItem `json:"items"`
	}
	if err := d.ask(&list, "certificate", "list"); err != nil {
		return fmt.Errorf("list certificates: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(c certificateItem) bool { return c.Record != "" }) // manifests are listed, too
	d.check(len(list.Items) == 12, "%d certificates, want 12", len(list.Items))
	key := filepath.Join(d.dir, "agent/keys/simulation.pub")
	good := filepath.Join(d.dir, demoGood+".json")
	d.expunge(exitOK, "certificate", "export", demoGood, "-o", good)
	d.expunge(exitOK, "verify", good, "--trust", key, "--allow-simulated")
	d.step("A virtual drive's certificate says so, and is not taken for a real one.")
	d.expunge(exitPolicy, "verify", good, "--trust", key)
	d.step("One changed byte, and it is rejected.")
	data, err := os.ReadFile(good)
	if err != nil {
		return err
	}
	data[len(data)/3] ^= 1
	forged := filepath.Join(d.dir, "forged.json")
	if err := os.WriteFile(forged, data, 0o600); err != nil {
		return err
	}
	d.expunge(exitInvalid, "verify", forged, "--trust", key, "--allow-simulated")
	d.step("The others are as authentic, and say what went wrong.")
	all := filepath.Join(d.dir, "certificates")
	d.expunge(exitOK, "certificate", "export", "--all", "-o", all+"/", "--format", "json")
	for _, c := range list.Items {
		if c.Serial != demoGood {
			want := map[string]int{demoWorn: exitOutcome, demoLiar: exitOutcome, demoFalse: exitOutcome, demoFails: exitOutcome}[c.Serial] // 0 for the others
			d.expunge(want, "verify", filepath.Join(all, c.Serial+"-"+c.Job+".json"), "--trust", key, "--allow-simulated")
		}
	}
	d.step("For people, each is a page that carries the certificate; for other programs, all are rows of a register.")
	d.expunge(exitOK, "certificate", "export", "--all", "-o", all+"/", "--format", "pdf")
	d.expunge(exitOK, "certificate", "export", "--all", "-o", filepath.Join(all, "all.csv"))
	d.step("An auditor goes through the whole log: nothing was left out, and every job has a manifest of every drive that was there.")
	d.expunge(exitOK, "audit")
	return nil
}

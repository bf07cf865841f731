package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/internal/durable"
)

// mostMemory is what sixty drives may need.
const mostMemory = 512 << 20

// crowd is a rack of many drives, and what must become of each. Of an outcome of "" only
// that it is true is known: some kinds of drives are refused, or refuse what they are told.
type crowd struct {
	t    *testing.T
	rack *virtual.Rack
	dir  string
	list []string // serial numbers, in the order in which they are named
	want map[string]string
	full map[string]int64 // old records at the beginning
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	dir := t.TempDir()
	if free, err := durable.Free("/dev/shm"); err == nil && free > 4<<30 {
		if dir, err = os.MkdirTemp("/dev/shm", "expunge-test-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	}
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	return &crowd{t: t, rack: rack, dir: dir, want: map[string]string{}, full: map[string]int64{}}
}

func (c *crowd) add(profile string, bytes int64, fault, want string) {
	c.t.Helper()
	serial := fmt.Sprintf("D%02d-%s", len(c.list)+1, strings.ToUpper(profile))
	serial = serial[:min(len(serial), 20)]
	if err := addDrive(c.rack, virtual.Spec{Serial: serial, Profile: profile, SizeBytes: bytes, EraseSeconds: 1}); err != nil {
		c.t.Fatal(err)
	}
	if use, is := strings.CutPrefix(fault, "use "); is {
		if err := c.rack.Use(serial, use); err != nil {
			c.t.Fatal(err)
		}
	} else if fault != "" {
		f, err := virtual.ParseFault(fault)
		if err == nil {
			err = c.rack.Fault(serial, f)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	host := c.rack.Host(nil)
	listed, err := host.Drives(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := host.Select(listed, []string{serial}); err != nil {
		c.t.Logf("left out, for it cannot be named by its serial number: %v", err)
		return
	}
	c.list, c.want[serial] = append(c.list, serial), want
	c.full[serial] = c.left(serial)
}

func (c *crowd) left(serial string) int64 {
	c.t.Helper()
	medium, err := c.rack.Medium(serial)
	if err != nil {
		c.t.Fatal(err)
	}
	left, _, err := medium.CountCanary(oldData)
	if err != nil {
		c.t.Fatal(err)
	}
	return left
}

// run plans and runs them all by one list, and returns the most memory that the run had.
func (c *crowd) run(code int) (memory int64) {
	c.t.Helper()
	list, plan := filepath.Join(c.dir, "list"), filepath.Join(c.dir, "plan.json")
	if err := os.WriteFile(list, []byte(strings.Join(c.list, "\n")), 0o600); err != nil {
		c.t.Fatal(err)
	}
	var planned bytes.Buffer
	(&app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &planned, ctx: c.t.Context()}).execute(
		[]string{"--rack", c.rack.Root(), "plan", "--drives", list, "-o", plan})
	digest, err := planDigest(plan)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, &planned)
	}
	cmd := program(c.t, "--rack", c.rack.Root(), "run", "--plan", plan, "--confirm", digest, "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(10 * time.Millisecond):
			memory = max(memory, highWater(cmd.Process.Pid))
		}
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("exit code %d, want %d\n%s", got, code, &stderr)
	}
	var doc struct {
		Result struct {
			Drives []struct {
				Serial, Outcome string
				Certificate     *string
			}
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil || len(doc.Result.Drives) != len(c.list) {
		c.t.Fatalf("%d drives are reported, want %d: %v", len(doc.Result.Drives), len(c.list), err)
	}
	var order []string
	for _, d := range doc.Result.Drives {
		c.compare(d.Serial, d.Outcome, d.Certificate != nil)
		if d.Outcome != "refused" {
			order = append(order, d.Serial)
		}
	}
	at := 0
	for _, serial := range c.list { // the order of the names, without those that were refused
		if at < len(order) && order[at] == serial {
			at++
		}
	}
	if at < len(order) {
		c.t.Errorf("drives are not in the order of their names: %q", order)
	}
	return memory
}

// compare holds a drive's outcome against its medium.
func (c *crowd) compare(serial, outcome string, certified bool) {
	c.t.Helper()
	left, want := c.left(serial), c.want[serial]
	if want == "" && outcome != "sanitized" && outcome != "refused" && outcome != "failed" || want != "" && outcome != want {
		c.t.Errorf("%s: outcome %s, want %q", serial, outcome, want)
	}
	wrong := false
	switch outcome {
	case "sanitized":
		wrong = left > 0 || !certified
	case "exceptions", "unproven", "failed":
		wrong = left == 0 || !certified
	case "refused":
		wrong = left != c.full[serial] || certified
	default:
		wrong = left == 0 || certified
	}
	if wrong || c.full[serial] == 0 {
		c.t.Errorf("%s: outcome %s, certified %v, with %d of %d old records left", serial, outcome, certified, left, c.full[serial])
	}
}

var vmHWM = regexp.MustCompile(`VmHWM:\s*(\d+) kB`)

// highWater is the most memory that a running process had so far.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := vmHWM.FindSubmatch(status)
	if err != nil || m == nil {
		return 0 // it has ended
	}
	kilobytes, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}

// Sixty drives of all kinds in one run: each ends as what it is, whatever becomes of the others.
func TestSixtyDrivesEachByItself(t *testing.T) {
	c, bytes := newCrowd(t), int64(4<<20)
	for _, x := range []struct{ profile, fault, want string }{
		{"plain", "drop-writes:1000+800", "unproven"}, {"plain", "write-error:100+4", "exceptions"}, {"plain", "pulled:3", "interrupted"},
		{"plain", "pulled:6", "interrupted"}, {"plain", "power-cut:2", "interrupted"}, {"plain", "hang:3", "sanitized"}, {"plain", "slow:4000000", "sanitized"},
		{"nvme-ssd", "lie:nothing", "unproven"}, {"nvme-ssd", "sanitize-fail:40", "failed"}, {"nvme-ssd", "hang:2", "sanitized"}, {"sas-ssd", "sanitize-fail:40", "failed"},
		{"sata-ssd", "lie:nothing", "unproven"}, {"sata-hdd", "progress-stuck:2", "sanitized"}, {"plain", "use mounted:/srv", "refused"}, {"plain", "use swap", "refused"},
	} {
		c.add(x.profile, bytes, x.fault, x.want)
	}
	for _, p := range virtual.Profiles() {
		c.add(p.Name, bytes, "", "")
	}
	for len(c.list) < 60 && !testing.Short() {
		c.add("plain", bytes, "", "sanitized")
	}
	if memory := c.run(exitUnproven); memory == 0 || memory > mostMemory {
		t.Errorf("%d MiB of memory for %d drives", memory>>20, len(c.list))
	} else {
		t.Logf("%d drives: %d MiB", len(c.list), memory>>20)
	}
}

// Sixty drives that are all being overwritten at the same time share what memory there is.
func TestSixtyOverwritesShareMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes most of a gigabyte")
	}
	c := newCrowd(t)
	for range 60 {
		c.add("plain", 12<<20, "slow:6000000", "sanitized")
	}
	if memory := c.run(exitOK); memory == 0 || memory > mostMemory {
		t.Errorf("%d MiB of memory for %d drives", memory>>20, len(c.list))
	} else {
		t.Logf("%d drives: %d MiB", len(c.list), memory>>20)
	}
}

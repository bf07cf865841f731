package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// watched calls before each request of a drive, and before each command by which a zoned one is written;
// between, the transport is the rack's.
type watched struct {
	devices.Transport
	before func(blockio.Op)
	still  *sync.Mutex // held while a zoned drive changes what it keeps
}

func (w watched) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if op, is := map[uint8]blockio.Op{0x00: blockio.Flush, 0x01: blockio.Write, 0x79: zoneCommand}[c.Opcode]; is && c.Queue == nvme.IO {
		w.still.Lock()
		defer w.still.Unlock()
		w.before(op)
	}
	return w.Transport.NVMe(ctx, c)
}

// zoneCommand resets or finishes a zone.
const zoneCommand = blockio.Op(0x79)

type watchedQueue struct {
	blockio.Queue
	before func(blockio.Op)
}

func (w watched) Queue(depth int) (blockio.Queue, error) {
	q, err := w.Transport.Queue(depth)
	return watchedQueue{q, w.before}, err
}

func (q watchedQueue) Submit(r blockio.Request) error {
	q.before(r.Op)
	return q.Queue.Submit(r)
}

// Power is cut before every write and flush, at every append to the journal, and in the middle of
// every append. What lies on disk then is what a copy of the directories holds, because a drive's
// volatile cache is in the process. From each such moment the job must be resumed to a right end.
func TestPowerCutAtEveryStep(t *testing.T) {
	for name, spec := range map[string]virtual.Spec{
		"plain": {SizeBytes: 4 << 20},
		// Five zones with gaps behind them, of which two may be partly written.
		"zoned": {Profile: "nvme-zns", SizeBytes: 5 * 512 << 10, ZoneBytes: 512 << 10, ZoneCapacityBytes: 324 << 10, ActiveZones: 2, CacheBytes: 3 << 20},
	} {
		t.Run(name, func(t *testing.T) { cutAtEveryStep(t, spec) })
	}
}

func cutAtEveryStep(t *testing.T, spec virtual.Spec) {
	s := newSite(t)
	spec.Serial, spec.HiddenBytes = "A", 4096
	s.add(spec)
	request := sanitize.Request{Scheme: "hmg-is5-enhanced"}
	p := s.plan(request, "A")

	moments := t.TempDir()
	var mu, still sync.Mutex
	n := 0
	cut := func(what string) string {
		mu.Lock()
		defer mu.Unlock()
		n++
		dir := filepath.Join(moments, fmt.Sprintf("%03d-%s", n, what))
		for from, to := range map[string]string{s.rack.Root(): "rack", s.state: "state"} {
			if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
		keepSecret(t, filepath.Join(dir, "state"))
		return dir
	}
	var all []string
	opener := func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		transport, err := s.rack.Opener()(ctx, node, access)
		return watched{transport, func(op blockio.Op) {
			if op != blockio.Read {
				dir := cut(strings.ReplaceAll(op.String(), " ", "-"))
				mu.Lock()
				defer mu.Unlock()
				all = append(all, dir)
			}
		}, &still}, err
	}
	a := s.reopen(devices.NewHost(s.rack.Root(), opener, nil))
	a.testOnlyObserve = func(r journal.Record) {
		still.Lock()
		defer still.Unlock()
		after := cut("after-" + r.Kind)
		// The same moment with this record torn: it was never acknowledged.
		dir := cut("in-" + r.Kind)
		name := filepath.Join(dir, "state", jobsDir, jobName(p), string(p.Drives[0].ID), journalFile)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		line := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
		if err := os.WriteFile(name, data[:line+(len(data)-line)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, after, dir)
	}
	if _, err := a.Start(t.Context(), p, Started{}, Observer{}); err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d moments were seen", len(all))
	}
	for i, dir := range all {
		if testing.Short() && i%29 != 0 {
			continue // the run without the race detector has them all
		}
		t.Run(filepath.Base(dir), func(t *testing.T) { resumeFrom(t, dir, p) })
	}
}

func resumeFrom(t *testing.T, dir string, p sanitize.Plan) {
	rack, err := virtual.Open(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, rack: rack, state: filepath.Join(dir, "state")}
	s.agent = s.reopen(rack.Host(nil))
	before, err := s.agent.Job(jobName(p))
	if err != nil {
		t.Fatal(err)
	}
	if d := before.Drives[0]; d.Outcome == sanitize.Sanitized && holds(t, rack, "A") != 0 {
		t.Fatal("called sanitized while customer data was on the medium")
	} else if d.Outcome != sanitize.Sanitized && d.Outcome != sanitize.Interrupted {
		t.Fatalf("after the cut: %s %v", d.Outcome, d.Reasons)
	}
	job, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	r := job.Drives[0]
	if r.Outcome != sanitize.Sanitized || r.Err != nil {
		t.Fatalf("resumed to %s %v, %v", r.Outcome, r.Reasons, r.Err)
	}
	if n := holds(t, rack, "A"); n != 0 {
		t.Fatalf("%d canaries are left on a drive called sanitized", n)
	}
	report := s.verify(r)
	if report.Code != attest.CodeOK {
		t.Fatalf("certificate: %d %v", report.Code, report.Reasons)
	}
	if before.Drives[0].Evidence != nil && before.Drives[0].Evidence.Attempts > 0 && before.Drives[0].Outcome == sanitize.Interrupted &&
		report.Result.Sanitization.Interruptions == 0 {
		t.Fatal("the certificate does not say that the work was interrupted")
	}
}

// A journal that was edited, cut in the middle or put together from two must stop everything.
func TestDamagedJournalCertifiesNothing(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"a byte": func(d []byte) []byte { d = bytes.Clone(d); d[len(d)/2] ^= 1; return d },
		"a record removed": func(d []byte) []byte {
			lines := bytes.SplitAfter(d, []byte("\n"))
			return bytes.Join(append(lines[:4:4], lines[5:]...), nil)
		},
		"first record cut": func(d []byte) []byte { return d[bytes.IndexByte(d, '\n')+1:] },
	}
	for name, change := range damage {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
			s.fault("A", "power-cut:30")
			r := s.run(s.plan(sanitize.Request{}, "A"))
			file := s.agent.driveFile(r.Job, r.Drive.ID, journalFile)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, change(data), 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
			if err != nil {
				t.Fatal(err)
			}
			if d := j.Drives[0]; d.Outcome != sanitize.Unknown || d.Err == nil || d.Certificate != "" {
				t.Fatalf("outcome %s, error %v, certificate %q", d.Outcome, d.Err, d.Certificate)
			}
		})
	}
}

// Without keys a half-written pass cannot be continued; it is begun anew, and says so.
func TestLostSecretsBeginThePassAnew(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
	s.fault("A", "power-cut:60")
	r := s.run(s.plan(sanitize.Request{}, "A"))
	if err := os.Remove(s.agent.driveFile(r.Job, r.Drive.ID, secretsFile)); err != nil {
		t.Fatal(err)
	}
	j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Fatalf("%+v, %v", j.Drives, err)
	}
}

// dying is a drive that fails everywhere after some writes, and then no longer says what it is.
type dying struct {
	devices.Transport
	left *atomic.Int64
}

func (d dying) Queue(depth int) (blockio.Queue, error) { return blockio.NewPool(d, depth) }

func (d dying) ReadAt(p []byte, off int64) (int, error) {
	return d.Transport.(blockio.Backend).ReadAt(p, off)
}

func (d dying) WriteAt(p []byte, off int64) (int, error) {
	if d.left.Add(-1) < 0 {
		return 0, syscall.EIO
	}
	return d.Transport.(blockio.Backend).WriteAt(p, off)
}

func (d dying) Flush() error { return d.Transport.(blockio.Backend).Flush() }

func (d dying) Geometry(ctx context.Context) (devices.Geometry, error) {
	if d.left.Load() < 0 {
		return devices.Geometry{}, devices.ErrGone
	}
	return d.Transport.Geometry(ctx)
}

// I/O errors of a drive that no longer answers are not bad blocks: nothing is known of its blocks,
// and no certificate may list them as the only ones that hold data.
func TestDyingDriveHasNoBadBlocks(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 16 << 20})
	p := s.plan(sanitize.Request{}, "A")
	var left atomic.Int64
	left.Store(5)
	a := s.reopen(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return dying{tr, &left}, err
	}, nil))
	j, err := a.Start(t.Context(), p, Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	r := j.Drives[0]
	if r.Outcome != sanitize.Interrupted || r.Evidence.ExceptionBytes != 0 || r.Certificate != "" {
		t.Fatalf("outcome %s %v, %d bytes of exceptions", r.Outcome, r.Reasons, r.Evidence.ExceptionBytes)
	}
	if r := s.run(p); r.Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Fatalf("when it is back: %s %v", r.Outcome, r.Reasons)
	}
}

// Without its intent in the log nothing is sent to a drive.
func TestNoIntentNoWrite(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	j, _, err := func() (*journal.Journal, []journal.Record, error) {
		if _, err := s.agent.createJob(p, Started{}); err != nil {
			return nil, nil, err
		}
		return s.agent.openJournal(jobName(p), p, p.Drives[0])
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }() // what it holds was looked at
	handle, err := s.agent.openDrive(t.Context(), p.Drives[0], p, false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = handle.Close() }() // what it holds was looked at
	parsed, err := journal.Read(s.agent.driveFile(jobName(p), p.Drives[0].ID, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	err = sanitize.Execute(t.Context(), sanitize.Execution{Handle: handle, Journal: j, Records: parsed.Records, Secrets: filepath.Join(t.TempDir(), "s")})
	if err == nil || holds(t, s.rack, "A") == 0 {
		t.Fatalf("executed without an intent: %v", err)
	}
	if _, n := j.Head(); n != 1 {
		t.Fatalf("the journal has %d records", n)
	}
}

// A journal that was cut at a record after it was certified has a whole chain. Its certificate
// tells, and nothing is done on its word.
func TestJournalCutAfterItWasCertified(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	r := s.run(p)
	name := s.agent.driveFile(r.Job, r.Drive.ID, journalFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cut := data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1]
	if err := os.WriteFile(name, cut, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.rack.Populate("A", canary); err != nil {
		t.Fatal(err)
	}
	if r := s.run(p); r.Outcome != sanitize.Unknown || r.Err == nil || holds(t, s.rack, "A") == 0 {
		t.Fatalf("%s %v, %v", r.Outcome, r.Reasons, r.Err)
	}
	// Without the certificate the log still has the first result, and no second one is made.
	if err := os.Remove(r.Certificate); err != nil {
		t.Fatal(err)
	}
	if r := s.run(p); r.Certificate != "" || !errors.Is(r.Err, attest.ErrOtherResult) {
		t.Fatalf("%s, certificate %q, %v", r.Outcome, r.Certificate, r.Err)
	}
}

// The drive alone loses power, in every write: its cache is gone and the write is torn.
func TestDriveLosesPowerAtEveryWrite(t *testing.T) {
	for n := 1; n <= 12; n++ {
		s := newSite(t)
		s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20, CacheBytes: 3 << 20})
		s.fault("A", fmt.Sprintf("power-cut:%d", n))
		p := s.plan(sanitize.Request{Scheme: "hmg-is5-enhanced"}, "A")
		if r := s.run(p); r.Outcome != sanitize.Interrupted || r.Certificate != "" {
			t.Fatalf("cut in write %d: %s %v", n, r.Outcome, r.Reasons)
		}
		r := s.run(p)
		if r.Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 || r.Evidence.Interruptions != 1 {
			t.Fatalf("after a cut in write %d: %s %v", n, r.Outcome, r.Reasons)
		}
	}
}

// forgetful is a drive that acknowledges writes and cannot flush them.
type forgetful struct{ devices.Transport }

func (f forgetful) Queue(depth int) (blockio.Queue, error) { return blockio.NewPool(f, depth) }

func (f forgetful) ReadAt(p []byte, off int64) (int, error) {
	return f.Transport.(blockio.Backend).ReadAt(p, off)
}

func (f forgetful) WriteAt(p []byte, off int64) (int, error) {
	return f.Transport.(blockio.Backend).WriteAt(p, off)
}

func (f forgetful) Flush() error { return syscall.EIO }

// A flush that fails is the drive's failure: what was written before it is nowhere.
func TestFailedFlushIsAFailure(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
	p := s.plan(sanitize.Request{}, "A")
	s.agent = s.reopen(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return forgetful{tr}, err
	}, nil))
	r := s.run(p)
	if r.Outcome != sanitize.Failed || r.Evidence.BytesWritten != 0 {
		t.Fatalf("%s %v, %d bytes written", r.Outcome, r.Reasons, r.Evidence.BytesWritten)
	}
	if report := s.verify(r); report.Code != attest.CodeOutcome {
		t.Fatalf("certificate: %d %v", report.Code, report.Reasons)
	}
}

// keepSecret gives the keys of a copied state their mode again: a copy through fs.FS does not keep it, and the
// agent refuses a key that others can read.
func keepSecret(t *testing.T, state string) {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(state, keysDir, "*.pem"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("%q, %v", keys, err)
	}
	for _, k := range keys {
		if err := os.Chmod(k, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

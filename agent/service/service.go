package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Options say whom a service serves, and what it permits.
type Options struct {
	// Agent may be nil of a service that is not resident, when nothing is asked but Drives and Locate: they need no state.
	Agent *agent.Agent
	Host  *devices.Host
	Log   hclog.Logger // nil is silent
	Now   func() time.Time

	// Policy is the one policy that plans are made under; nil leaves it to those who ask.
	Policy *sanitize.Policy
	Caps   Caps
	// Approvers are the people whose approvals count; Required is how many a plan needs at least, whatever its policy says.
	Approvers []Approver
	Required  int
	// OwnApproval lets those who asked for a plan approve it themselves.
	OwnApproval bool

	// Resident: this process serves others. It keeps an audit file, goes on with unfinished jobs, and has the state for itself. What is
	// not resident serves a person at the host (here.go).
	Resident bool
	// Until ends the jobs of this process, resumably: those of one command end with it. nil leaves it to Close.
	Until context.Context
	// Sink is a directory, elsewhere than the state, that journals and certificates are copied to; "" is none.
	Sink string
	// AcceptVolatile permits jobs whose evidence is lost with the host's power; certificates say so.
	AcceptVolatile bool
	// PINs is what the agent asks for PINs; nil gives none.
	PINs *PINs
	// Told gets what is counted: jobs that ended, events, records of the audit file. Its functions may be nil.
	Told Told

	testOnlyVolatile func() bool
}

// Told is what a service tells those who count. Its functions may be nil; they must not block.
type Told struct {
	JobEnded func(api.Job) // nobody is at work on it any more
	Audited  func(action string)
	// Event is of any job, as those who watch it are told, but for ends of drives: each is told once, by the process in which it came.
	// That of a drive that planning refused comes when its job begins.
	Event func(api.Event)
}

// Service is an api.Service over an agent in this process.
type Service struct {
	Options
	log      hclog.Logger
	started  time.Time
	audit    *auditFile // nil unless resident
	gap      string     // what the audit file lacked when this service began
	lock     *durable.Lock
	listing  looked[api.Drives]
	jobsSeen looked[[]api.Job]
	adopted  chan struct{} // closed when a resident service has gone on with what an earlier one left; then its jobs are what they say
	kept     evidence

	starting sync.Mutex // whether one more job may begin is judged for one after the other, and nothing that a drive holds up is done meanwhile
	adoption sync.Mutex // one looks at a time which jobs can be gone on with
	deciding sync.Mutex // whether a job is cancelled, and whether it runs, change one after the other
	halting  sync.Mutex // one halt, or end of one, at a time; guards saidLast
	lives    sync.WaitGroup

	saidLast *agent.SaidHalt // the halt that was said last; nil when none was

	adoptedAll func() // closes adopted

	watchAgain time.Duration

	mu        sync.Mutex // guards the rest
	running   map[string]*run
	claimed   claims
	begun     []begun // jobs of the last hour
	halt      api.Halt
	closing   bool
	looking   *look                // at what speaks against taking the host's power, while one is under way
	ends      map[string]agent.Job // as they ended that this process was at work on last
	held      map[string]sanitize.Plan
	stopped   map[string]*agent.HaltedError // jobs of a service that is not resident, by a halt
	hotPlug   string
	resuming  map[string]bool         // jobs that are about to be gone on with
	unadopted error                   // why unfinished jobs are not gone on with; nil when they are
	beside    func() []devices.Reason // what is wrong beside this service; nil knows of nothing
	verdicts  map[string]verdict      // of certificates, by file
}

var _ api.Service = (*Service)(nil)

// LockName is the file in the state directory that a resident service holds.
const LockName = "serve.lock"

// ErrTaken: another process serves this state.
var ErrTaken = errors.New("another process serves this state")

// New makes a service. A resident one takes the state for itself: the error is ErrTaken when another has it.
func New(o Options) (*Service, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Caps = o.Caps.orDefault(); !o.Resident {
		o.Caps = noCaps
	}
	if o.Until == nil {
		o.Until = context.Background()
	}
	if o.PINs == nil {
		o.PINs = &PINs{}
	}
	s := &Service{
		Options: o, log: o.Log.Named("service"), started: time.Now(), watchAgain: watchAgain, adopted: make(chan struct{}), running: map[string]*run{}, claimed: claims{}, verdicts: map[string]verdict{},
		ends: map[string]agent.Job{}, held: map[string]sanitize.Plan{}, resuming: map[string]bool{}, stopped: map[string]*agent.HaltedError{}, kept: evidence{agent: o.Agent, settled: map[string]settled{}, over: map[string]bool{}},
	}
	s.adoptedAll = sync.OnceFunc(func() { close(s.adopted) })
	if o.Sink != "" {
		s.kept.sink = &sink{dir: o.Sink, state: o.Agent.Dir(), owner: o.Agent.ID(), simulated: o.Agent.Simulated(), copies: map[string]copied{}, logs: map[string]copiedLog{}}
	}
	s.listing.at, s.listing.lives, s.listing.patience = s.lookAtHost, &s.lives, func(older bool) <-chan time.Time {
		if !older {
			return nil
		}
		return time.After(listingWaits)
	}
	s.jobsSeen.at, s.jobsSeen.lives, s.jobsSeen.patience = s.lookAtJobs(), &s.lives, func(bool) <-chan time.Time { return time.After(listingWaits) }
	if err := s.checkApprovers(); err != nil {
		return nil, err
	}
	if !o.Resident {
		s.adoptedAll()
		return s, nil // it writes nothing but jobs
	}
	if o.Sink != "" {
		// One that cannot be looked at yet, as it is mounted later, is looked at again before it is used.
		if err := apart(o.Sink, o.Agent.Dir()); errors.Is(err, errTogether) {
			return nil, err
		}
	}
	if err := durable.MkdirAll(s.path(plansDir), 0o700); err != nil {
		return nil, fmt.Errorf("plans: %w", err)
	}
	lock, err := durable.TryLock(s.path(LockName))
	for n := 0; n < 20 && errors.Is(err, durable.ErrLocked); n++ {
		// Whoever looks whether an agent runs holds it for a moment.
		time.Sleep(5 * time.Millisecond)
		lock, err = durable.TryLock(s.path(LockName))
	}
	if errors.Is(err, durable.ErrLocked) {
		return nil, ErrTaken
	}
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	s.lock = lock
	if err = s.open(); err != nil {
		if s.audit != nil {
			err = errors.Join(err, s.audit.close())
		}
		return nil, errors.Join(err, lock.Unlock())
	}
	return s, nil
}

// open reads what an earlier service left.
func (s *Service) open() error {
	var err error
	if s.audit, err = openAudit(s.path(ActionsName), s.clock, s.log); err != nil {
		return err
	}
	if err := s.accountFor(); err != nil {
		return err
	}
	note := s.readHalt()
	s.halt, s.saidLast = note.Halt, note.Last
	if err := s.reserveHalt(); err != nil {
		s.log.Error("no room is kept for the note of a halt", "err", err)
	}
	if err := s.recallCaps(); err != nil {
		return err
	}
	return s.prunePlans()
}

func (s *Service) path(name string) string { return filepath.Join(s.Agent.Dir(), name) }

func (s *Service) clock() time.Time { return s.Now().UTC().Round(0) }

// errClosing is the cause by which jobs stop when the service ends.
var errClosing = errors.New("the agent was told to stop; it goes on with the job when it starts again")

// Close stops all jobs resumably and waits for them until ctx ends: then the error is an *UnendedError. Nothing can be begun any more.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for _, r := range s.running {
		r.cancel(errClosing)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.lives.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		// A drive that answers nothing holds its job up; its journal says what was begun.
		return s.unended()
	}
	var err error
	if s.audit != nil {
		err = s.audit.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Unlock())
	}
	return err
}

// volatile says whether the state is lost with the host's power.
func (s *Service) volatile() bool {
	if s.testOnlyVolatile != nil {
		return s.testOnlyVolatile()
	}
	return s.Agent.Volatile()
}

// Drives lists the host. What a page asks for many times a second is looked at once.
func (s *Service) Drives(ctx context.Context) (api.Drives, error) {
	if err := s.may(ctx, api.Read, "drives.list", ""); err != nil {
		return api.Drives{}, err
	}
	if !s.Resident {
		return s.lookAtHost(ctx) // nobody else asks
	}
	d, err := s.listing.get(ctx)
	if err != nil {
		return d, err
	}
	return s.withWork(s.withJobs(ctx, d)), nil
}

// Certificates lists those issued, oldest first.
func (s *Service) Certificates(ctx context.Context) ([]api.Certificate, error) {
	if err := s.may(ctx, api.Read, "certificates.list", ""); err != nil {
		return nil, err
	}
	issued, err := s.Agent.Certificates()
	if err != nil {
		return nil, err
	}
	return s.verified(issued)
}

// verified says of certificates what the keys of the state say of them.
func (s *Service) verified(issued []agent.Certificate) ([]api.Certificate, error) {
	trust, err := agent.OwnTrust(s.Agent.Dir())
	if err != nil {
		return nil, err
	}
	list := []api.Certificate{}
	for _, c := range issued {
		item := api.Certificate{Job: c.Job, ID: c.Drive.ID, Serial: c.Drive.Serial, Model: c.Drive.Model, File: c.File, Issued: c.Issued.UTC().Format(time.RFC3339)}
		item.Outcome, item.SHA256 = s.judged(c.File, trust)
		list = append(list, item)
	}
	return list, nil
}

// verdict is what verified bytes say, as long as the file is the same.
type verdict struct {
	modified        time.Time
	size            int64
	outcome, sha256 string
}

// judged verifies a certificate once, and again when its file has changed. What people said of it later stands behind the outcome.
func (s *Service) judged(file string, trust attest.Trust) (outcome, sha256 string) {
	info, err := os.Stat(file)
	if err != nil {
		return "invalid", ""
	}
	s.mu.Lock()
	v, known := s.verdicts[file]
	s.mu.Unlock()
	if known && v.size == info.Size() && v.modified.Equal(info.ModTime()) {
		return v.outcome, v.sha256
	}
	v = verdict{modified: info.ModTime(), size: info.Size(), outcome: "invalid"}
	if data, err := os.ReadFile(file); err == nil {
		v.sha256 = hexSHA256(data)
		if r := attest.Verify(data, trust); r.Result != nil {
			v.outcome = r.Result.Outcome.Status
			for _, reason := range r.Reasons {
				switch reason.Code {
				case "validation_rejected", "validation_escalated", "withdrawn":
					v.outcome += ", " + reason.Code
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts[file] = v
	return v.outcome, v.sha256
}

// Certificate returns the bytes of one.
func (s *Service) Certificate(ctx context.Context, job string, drive devices.ID) ([]byte, error) {
	if err := s.may(ctx, api.Read, "certificates.read", job); err != nil {
		return nil, err
	}
	j, err := s.Agent.Job(job)
	if err != nil {
		return nil, err
	}
	for _, d := range j.Drives {
		if (d.Drive.ID == drive || d.Drive.Serial == string(drive)) && d.Certificate != "" {
			return os.ReadFile(d.Certificate)
		}
	}
	return nil, api.NewProblem(api.ExitNotFound, "not_found", "expunge certificate list shows those there are (GET /v1/certificates)", fmt.Errorf("job %s has no certificate of drive %s", job, drive))
}

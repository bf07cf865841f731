// Package verifying is the command that checks certificates, as both programs have it.
package verifying

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// Options say what to check and against what.
type Options struct {
	Paths          []string // files and directories; "-" is standard input
	Trust          attest.Trust
	AllowSimulated bool
	Cosigners      attest.Cosigners // whose cosignatures count
	MinCosigners   int              // how many of them are wanted
	Against        *Assets          // nil: certificates are judged by themselves
	Demands        *attest.Demands
	Also           func(attest.Report) []attest.Reason // what else does not fit an authentic certificate; nil: nothing
	// Check says what else speaks against a certificate that is authentic, by what only the caller has; nil is no
	// such thing.
	Check  func(attest.Result) *attest.Reason
	JSON   bool
	Stream bool   // JSON as lines, one per certificate
	Prog   string // for messages

	verifier *attest.Verifier // of all of them
}

// The exit codes beside those of attest.
const (
	CodeIO       = 1   // something could not be read, so that it was not judged
	CodeNotFound = 3   // there is no such file, or no certificate in what was named
	CodeSignal   = 130 // stopped: not everything was judged
)

// memory is where collecting begins to be worth its time.
const memory = 80 << 20

// order is which exit code counts of several.
var order = []int{attest.CodeInvalid, CodeSignal, CodeIO, CodeNotFound, attest.CodePolicy, attest.CodeOutcome}

// Item is what is said of one certificate. What it says of itself is from verified bytes.
type Item struct {
	Path       string          `json:"path"`
	File       string          `json:"file"`           // the same as Path
	Line       int             `json:"line,omitempty"` // of standard input, when that has several
	Verdict    string          `json:"verdict"`
	Code       int             `json:"code"`
	ExitStatus int             `json:"exit_status"` // the same as Code
	Reasons    []attest.Reason `json:"reasons"`
	Serial     string          `json:"serial,omitempty"`
	Model      string          `json:"model,omitempty"`
	Outcome    string          `json:"outcome,omitempty"`
	Method     string          `json:"method,omitempty"`
	Time       string          `json:"time,omitempty"` // when it was signed, by the host's clock
	Simulated  bool            `json:"simulated"`
	Drive      *Drive          `json:"drive,omitempty"`
	Trust      Trust           `json:"trust"`
	Record     string          `json:"record,omitempty"` // of what is no certificate: "manifest" or "destruction"
	Kind       string          `json:"kind,omitempty"`   // of what holds no certificate and is not the rest of one: what it is
	// Of a certificate: what was said of it later, and who cosigned the log.
	Validations   []Validation   `json:"validations,omitempty"`
	Supersessions []Supersession `json:"supersessions,omitempty"`
	Cosigners     []string       `json:"cosigners,omitempty"`
	NotChecked    int            `json:"cosignatures_not_checked,omitempty"`

	Manifest    *attest.Manifest    `json:"manifest,omitempty"`
	Destruction *attest.Destruction `json:"destruction,omitempty"`

	Summary *Summarized `json:"summary,omitempty"` // of the code on a page, which is no certificate
	result  *attest.Result
	leaf    [32]byte // hash of its entry in the log
	origin  string   // of the log
}

// Drive is the drive that a certificate speaks of, from verified bytes.
type Drive struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Serial string `json:"serial"`
	WWN    string `json:"wwn,omitempty"`
	Size   int64  `json:"size_bytes"`
	Scope  string `json:"scope"`
}

// Trust says whose word it is.
type Trust struct {
	Level     string `json:"level"` // trusted, self or untrusted
	KeyID     string `json:"keyid,omitempty"`
	Simulated bool   `json:"simulated"`
	LogIndex  int64  `json:"log_index"`
	LogSize   int64  `json:"log_size"`
}

// NotJudged is something in a directory that is no certificate, and says nothing about any drive.
type NotJudged struct {
	Path    string          `json:"path"`
	Reasons []attest.Reason `json:"reasons"`
}

// Summary counts. Every certificate is in one of the numbers after the first, and records are counted apart; the last four are told of one of them.
type Summary struct {
	Certificates int `json:"certificates"` // judged, or to be judged and not readable
	Sanitized    int `json:"sanitized"`    // exit status 0
	Refused      int `json:"refused"`      // authentic: the drive was not touched
	Exceptions   int `json:"exceptions"`   // authentic: sanitized but for some areas
	Failed       int `json:"failed"`       // authentic: every other outcome
	Policy       int `json:"policy_not_met"`
	Invalid      int `json:"invalid"`
	Unreadable   int `json:"unreadable"`
	NotJudged    int `json:"not_judged"`
	OtherFiles   int `json:"other_files"` // not named *.json, in directories
	Records      int `json:"records"`     // authentic, and no certificates: manifests, destructions
	// Of Failed those that certify no failure but one of these.
	Unproven    int `json:"unproven"`
	Unknown     int `json:"unknown"`
	Interrupted int `json:"interrupted"`
	Overruled   int `json:"overruled"` // sanitized, by what was signed at first; then rejected, or withdrawn
}

func (s *Summary) count(i Item) {
	if i.Record != "" {
		s.Records++
		return
	}
	s.Certificates++
	switch {
	case i.Code == attest.CodeOK:
		s.Sanitized++
	case i.Code == attest.CodeInvalid:
		s.Invalid++
	case i.Code == attest.CodePolicy:
		s.Policy++
	case i.Code != attest.CodeOutcome:
		s.Unreadable++
	case i.Outcome == "refused":
		s.Refused++
	case i.Outcome == "exceptions":
		s.Exceptions++
	default:
		s.Failed++
		switch i.Outcome {
		case "unproven":
			s.Unproven++
		case "unknown":
			s.Unknown++
		case "interrupted":
			s.Interrupted++
		case "sanitized":
			s.Overruled++
		}
	}
}

// ending is what is said after the last certificate.
type ending struct {
	NotJudged  []NotJudged     `json:"not_judged"`
	Against    *Reconciled     `json:"against,omitempty"`
	Summary    Summary         `json:"summary"`
	ExitStatus int             `json:"exit_status"`
	Errors     []attest.Reason `json:"errors"`
}

// printer says it all, in the order of what was named.
type printer interface {
	item(Item) error
	notJudged(NotJudged) error
	end(ending) error
}

// Run checks everything and returns the exit code: 11 > 130 > 1 > 3 > 12 > 13 > 0. Certificates are
// verified on all cores, and told in order as they come: what is held grows with the number of
// drives only with Against.
func Run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, o Options) int {
	// Little lives longer than one certificate: so that collecting seldom saves time and costs little memory.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memory))
	var p printer
	switch {
	case o.JSON && o.Stream:
		p = newLines(stdout)
	case o.JSON:
		p = &document{out: stdout}
	default:
		p = &table{out: stdout, errs: stderr, prog: o.Prog, hints: map[string]string{}}
	}
	code, err := run(ctx, stdin, p, o)
	if err != nil {
		fmt.Fprintf(stderr, "%s: write result: %v\n", o.Prog, err)
		return CodeIO
	}
	return code
}

func run(ctx context.Context, stdin io.Reader, p printer, o Options) (int, error) {
	o.verifier = attest.NewVerifier(o.Trust)
	o.verifier.Cosigners = o.Cosigners
	if named := o.Trust.Cosigners(); o.Cosigners.Empty() && len(named) > 0 {
		known, err := attest.ParseCosigners([]byte(strings.Join(named, "\n")))
		if err != nil {
			return 0, fmt.Errorf("cosigners of the trust root: %w", err)
		}
		o.verifier.Cosigners = known
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	workers := runtime.GOMAXPROCS(0)
	g := &gatherer{ctx: working, stdin: stdin, queue: make(chan *job, 4*workers), work: make(chan *job, 4*workers), large: make(chan struct{}, largeAtOnce)}
	for range workers {
		go func() {
			for j := range g.work {
				j.told <- j.judge(o)
				if j.held {
					<-g.large
				}
			}
		}()
	}
	go g.gather(o.Paths)
	end := ending{NotJudged: []NotJudged{}, Errors: []attest.Reason{}}
	codes := map[int]bool{}
	var l *ledger
	if o.Against != nil {
		l = newLedger()
	}
	for {
		t, ok := g.next()
		if !ok {
			break
		}
		if t.skip != nil {
			end.Summary.NotJudged++
			if o.JSON && !o.Stream {
				end.NotJudged = append(end.NotJudged, *t.skip)
			}
			if err := p.notJudged(*t.skip); err != nil {
				return 0, err
			}
			continue
		}
		item := *t.item
		codes[item.Code] = true
		end.Summary.count(item)
		if item.Code == CodeIO || item.Code == CodeNotFound {
			end.Errors = append(end.Errors, item.Reasons...)
		}
		if l != nil {
			l.enter(item)
		}
		if err := p.item(item); err != nil {
			return 0, err
		}
	}
	switch {
	case ctx.Err() != nil: // what was not reached is not known: nothing is said of it
		codes[CodeSignal] = true
		end.Errors = append(end.Errors, attest.Reason{Code: "signal", Message: "stopped by a signal; not everything was judged"})
	case end.Summary.Certificates+end.Summary.Records == 0:
		codes[CodeNotFound] = true
		end.Errors = append(end.Errors, attest.Reason{Code: "no_certificate", Message: "there is no certificate in what was named", Hint: "certificates are named certificate.json, or *.json when exported"})
	}
	if ctx.Err() == nil {
		end.Summary.OtherFiles = g.other
	}
	if l != nil && ctx.Err() == nil {
		end.Against = o.Against.reconcile(l)
		codes[attest.CodePolicy] = codes[attest.CodePolicy] || len(end.Against.Findings) > 0
	}
	for _, code := range order {
		if codes[code] {
			end.ExitStatus = code
			break
		}
	}
	return end.ExitStatus, p.end(end)
}

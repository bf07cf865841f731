package verifying

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// Reconciled is what a list of assets and the certificates say of each other.
type Reconciled struct {
	File        string    `json:"file"`
	Serials     int       `json:"serials"`      // listed
	WithSuccess int       `json:"with_success"` // listed, and certified as sanitized with nothing later against it
	Destroyed   int       `json:"destroyed"`    // listed, not so, and recorded as destroyed by hand with nothing later against it
	Findings    []Finding `json:"findings"`
}

// Finding is where they disagree. Codes are stable:
//
//	no_certificate        listed, and no certificate is authentic, trusted and accepted
//	not_in_list           certified, and not listed
//	not_sanitized         listed, and every certificate certifies something else
//	failed_after_success  the newest certificate certifies something else
//	duplicate_success     sanitized more than once: which drive was it, and where was it between?
//	several_drives        drives of different model or WWN bear the serial number
//	listed_twice          the list has the serial number more than once
//	forked_log            two certificates claim one entry of one log: the issuer keeps two histories
//	no_serial             a line of the list has no serial number
type Finding struct {
	Code    string   `json:"code"`
	Serial  string   `json:"serial,omitempty"`
	Message string   `json:"message"`
	Paths   []string `json:"paths,omitempty"` // of certificates, at most maxPaths
}

const maxPaths = 3

// ledger holds what reconciling needs of certificates that are authentic.
type ledger struct {
	bySerial map[string]*record
	logs     map[string]int // by origin
	seen     map[logEntry]*entered
	forks    []Finding
}

// logEntry is what makes a certificate one: a copy of it has the same entry of the same log.
type logEntry struct {
	log   int
	index int64
}

// entered is what was made of an entry: its hash, and whether it counts as a success.
type entered struct {
	leaf    [32]byte
	success bool
}

// record is what is known of one serial number.
type record struct {
	destroyed []mark // each by its log
	drive     string // id of the first that is accepted
	several   bool   // there are others
	rejected  int    // authentic, and not accepted: untrusted, simulated
	sources   []source
}

// source is what one issuer's log says of a serial number.
type source struct {
	log              int
	success, failure mark // the newest of each
	successes        int
	paths            []string // of successes
}

// mark is a place in time: exact within a log, by the hosts' clocks between logs.
type mark struct {
	there        bool
	log          int
	index        int64
	size         int64 // of the log that it was proved against: of two copies the one of the larger log says more
	time, status string
	path         string
}

func newLedger() *ledger {
	return &ledger{bySerial: map[string]*record{}, logs: map[string]int{}, seen: map[logEntry]*entered{}}
}

// enter takes a certificate in, or the record of a destruction. What is not authentic says nothing about any drive.
func (l *ledger) enter(i Item) {
	if i.result == nil && i.Destruction == nil {
		return
	}
	log, known := l.logs[i.origin]
	if !known {
		log = len(l.logs)
		l.logs[i.origin] = log
	}
	entry := logEntry{log, i.Trust.LogIndex}
	have, copied := l.seen[entry]
	if copied && have.leaf != i.leaf {
		l.forks = append(l.forks, Finding{"forked_log", i.Serial, fmt.Sprintf("another certificate claims the same entry %d of the log %.28s…", entry.index, i.origin), []string{i.label()}})
		copied = false
	}
	if !copied {
		have = &entered{leaf: i.leaf}
		l.seen[entry] = have
	}
	r := l.bySerial[i.Serial]
	if r == nil {
		r = &record{}
		l.bySerial[i.Serial] = r
	}
	if i.Code == attest.CodePolicy {
		if !copied {
			r.rejected++
		}
		return
	}
	if r.drive == "" {
		r.drive = i.Drive.ID
	}
	r.several = r.several || r.drive != i.Drive.ID
	m := mark{true, log, i.Trust.LogIndex, i.Trust.LogSize, i.Time, i.Outcome, i.label()}
	if i.Destruction != nil {
		if !copied {
			r.destroyed = append(r.destroyed, m)
		}
		return
	}
	at := slices.IndexFunc(r.sources, func(s source) bool { return s.log == log })
	if at < 0 {
		at, r.sources = len(r.sources), append(r.sources, source{log: log})
	}
	s := &r.sources[at]
	if i.Code != attest.CodeOK {
		if m.status == "sanitized" { // and rejected, or withdrawn
			m.status = i.Reasons[len(i.Reasons)-1].Code
		}
		s.failure = newer(s.failure, m)
		return
	}
	s.success = newer(s.success, m)
	if have.success {
		return
	}
	have.success = true
	s.successes++
	if len(s.paths) < maxPaths {
		s.paths = append(s.paths, m.path)
	}
}

func newer(a, b mark) mark {
	if a.there && !b.reaches(a) {
		return a
	}
	return b
}

// reaches says whether a mark of one log is not before another. Of two copies of one certificate the newer one counts, and
// where they are of one size the one that it is asked of.
func (m mark) reaches(other mark) bool {
	return m.index > other.index || m.index == other.index && m.size >= other.size
}

// reconcile holds the list against the certificates.
func (a *Assets) reconcile(l *ledger) *Reconciled {
	c := &Reconciled{File: a.file, Serials: len(a.serials), Findings: append([]Finding{}, l.forks...)}
	for _, line := range a.without {
		c.Findings = append(c.Findings, Finding{Code: "no_serial", Message: fmt.Sprintf("line %d of the list has no serial number", line)})
	}
	for _, serial := range a.serials {
		if lines := a.lines[serial]; len(lines) > 1 {
			c.Findings = append(c.Findings, Finding{Code: "listed_twice", Serial: serial, Message: fmt.Sprintf("listed in lines %d and %d", lines[0], lines[1])})
		}
		c.judge(serial, l.bySerial[serial])
	}
	for _, serial := range slices.Sorted(maps.Keys(l.bySerial)) {
		if a.lines[serial] != nil {
			continue
		}
		f := Finding{Code: "not_in_list", Serial: serial, Message: "certified, and the list does not have it"}
		for _, s := range l.bySerial[serial].sources {
			f.Paths = append(f.Paths, s.paths...)
			if s.failure.there {
				f.Paths = append(f.Paths, s.failure.path)
			}
		}
		f.Paths = f.Paths[:min(len(f.Paths), maxPaths)]
		if other := a.likely(serial); other != "" {
			f.Message += "; it has " + other
		}
		c.Findings = append(c.Findings, f)
	}
	return c
}

// likely is a listed serial number that differs in letter case alone. It is another one: to match it
// would be a guess.
func (a *Assets) likely(serial string) string {
	for _, other := range []string{strings.ToUpper(serial), strings.ToLower(serial)} {
		if a.lines[other] != nil {
			return other
		}
	}
	return ""
}

// judge finds what is wrong with the certificates of one listed serial number.
func (c *Reconciled) judge(serial string, r *record) {
	if r != nil && r.closed() && !r.several {
		c.Destroyed++
		return
	}
	if r == nil || len(r.sources) == 0 {
		f := Finding{Code: "no_certificate", Serial: serial, Message: "there is no certificate of it"}
		if r != nil {
			f.Message = fmt.Sprintf("none of its %d authentic certificates is accepted", r.rejected)
		}
		c.Findings = append(c.Findings, f)
		return
	}
	successes, paths := 0, []string{}
	for _, s := range r.sources {
		successes += s.successes
		paths = append(paths, s.paths...)
	}
	last := r.last()
	switch {
	case successes == 0:
		c.Findings = append(c.Findings, Finding{"not_sanitized", serial, "no certificate says sanitized; the newest says " + last.status, []string{last.path}})
	case last.there:
		c.Findings = append(c.Findings, Finding{"failed_after_success", serial, "sanitized, and " + last.status + " later: treat it as holding data", []string{last.path}})
	case !r.several:
		c.WithSuccess++
	}
	if successes > 1 && !r.several {
		c.Findings = append(c.Findings, Finding{"duplicate_success", serial, fmt.Sprintf("%d certificates say that it was sanitized", successes), paths[:min(len(paths), maxPaths)]})
	}
	if r.several {
		c.Findings = append(c.Findings, Finding{"several_drives", serial, "drives of different model or WWN bear this serial number", paths[:min(len(paths), maxPaths)]})
	}
}

// last is the newest failure that no success came after. Logs of different issuers have only the
// hosts' clocks in common, and at the same second the failure counts.
func (r *record) last() (last mark) {
	for _, f := range r.sources {
		later := f.failure.there
		for _, s := range r.sources {
			switch {
			case !s.success.there:
			case s.log == f.log:
				later = later && f.failure.reaches(s.success)
			default:
				later = later && f.failure.time >= s.success.time
			}
		}
		if later && (!last.there || f.failure.time >= last.time) {
			last = f.failure
		}
	}
	return last
}

// closed says that the drive was destroyed after all that is known of it, and that nothing else would do: no success stands.
func (r *record) closed() bool {
	last := r.last()
	if len(r.destroyed) == 0 || len(r.sources) > 0 && !last.there {
		return false
	}
	return !slices.ContainsFunc(r.sources, func(s source) bool {
		return s.failure.there && !slices.ContainsFunc(r.destroyed, func(d mark) bool {
			return d.log == s.log && d.index > s.failure.index || d.log != s.log && d.time > s.failure.time
		})
	})
}

// words is for people: one line for each finding.
func (c *Reconciled) words() string {
	var b strings.Builder
	destroyed := ""
	if c.Destroyed > 0 {
		destroyed = fmt.Sprintf(", %d are recorded as destroyed", c.Destroyed)
	}
	fmt.Fprintf(&b, "against %s: %d of %d listed drives are certified as sanitized%s, %d findings\n", shown(c.File), c.WithSuccess, c.Serials, destroyed, len(c.Findings))
	for _, f := range c.Findings {
		fmt.Fprintf(&b, "  %-20s  %-20s  %s", f.Code, dash(f.Serial), f.Message)
		if len(f.Paths) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(f.Paths, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

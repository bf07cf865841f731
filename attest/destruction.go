package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DestructionType is the predicate type of a destruction.
const DestructionType = "https://github.com/expunge-dev/expunge/destruction/v1"

// Destruction is the predicate that records what people did to a drive by other means than this program: it closes one that
// failed, cannot be told of, or was never reached. All of it but the drive's name and the results is signed as said: the
// program has not checked a word of it.
type Destruction struct {
	Agent     Agent      `json:"agent"`
	Closes    []ResultAt `json:"closes"` // results of the drive in this log that are not "sanitized", oldest first
	Device    Named      `json:"device"`
	Equipment string     `json:"equipment,omitempty"`
	Known     bool       `json:"known"`  // this host had the drive; otherwise its name is as said, too
	Media     string     `json:"media"`  // one of Media
	Method    string     `json:"method"` // "destroy"; of a degausser "purge"
	Note      string     `json:"note,omitempty"`
	Operator  Person     `json:"operator"`
	Photos    []Photo    `json:"photos"`
	Place     string     `json:"place"`
	Simulated bool       `json:"simulated"`
	Technique string     `json:"technique"`
	Time      Time       `json:"time"` // of the record
	When      string     `json:"when"` // of the destruction: RFC 3339, UTC
	Witness   Person     `json:"witness"`
}

// Photo is a picture by its digest alone.
type Photo struct {
	Bytes  int64  `json:"bytes"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Degauss is the one technique that purges (800-88r1 table A-5): of media that are magnetic and nothing else.
const Degauss = "degauss"

// What a drive can be destroyed by (800-88r2 3.1.3), and what it may hold data in.
var (
	Destroying = []string{"shred", "disintegrate", "incinerate", "melt", "pulverize"}
	Media      = []string{"hdd", "ssd", "tape", "hybrid", "optical", "flash card", "unknown"}
	magnetic   = []string{"hdd", "tape"}
)

const (
	maxPhotos = 32
	maxCloses = 64
)

func (d Destruction) check() error {
	if err := errors.Join(d.Operator.check(), d.Witness.check(), d.Device.check()); err != nil {
		return err
	}
	for _, r := range d.Closes {
		if err := r.check(); err != nil {
			return err
		}
	}
	photo := func(p Photo) bool { return p.Name != "" && !tooLong(p.Name) && isHash(p.SHA256) && p.Bytes > 0 }
	degaussed := d.Technique == Degauss
	return checkRules(append(spoken(d.Agent, d.Time),
		rule{slices.Contains(Destroying, d.Technique) || degaussed, "the technique is unknown"},
		rule{slices.Contains(Media, d.Media), "the media are unknown to this program"},
		rule{!degaussed || slices.Contains(magnetic, d.Media), "a degausser purges magnetic media alone: flash keeps its data, and so may media that are not known"},
		rule{d.Method == map[bool]string{true: "purge", false: "destroy"}[degaussed], "the method is not that of the technique"},
		rule{isTime(d.When) && d.When <= d.Time.Claimed, "the time of the destruction is not UTC in seconds, or after it was recorded"},
		rule{!strings.EqualFold(strings.TrimSpace(d.Operator.Name), strings.TrimSpace(d.Witness.Name)), "the witness is the operator"},
		rule{d.Place != "" && !slices.ContainsFunc([]string{d.Place, d.Equipment, d.Note}, tooLong), "the place is missing, or words are too long"},
		rule{d.Photos != nil && len(d.Photos) <= maxPhotos && !slices.ContainsFunc(d.Photos, func(p Photo) bool { return !photo(p) }), "a photo is impossible, or there are too many"},
		rule{d.Closes != nil && len(d.Closes) <= maxCloses && !slices.ContainsFunc(d.Closes, func(r ResultAt) bool { return r.Status == "sanitized" }), "what it closes is missing, or needs none"},
		rule{d.Known || len(d.Closes) == 0, "a drive that the host never had has results"},
	))
}

func (d Destruction) subjects() []Subject { return []Subject{{"drive-id/v1", Digest{d.Device.ID}}} }

// Words is what became of the drive, as people read it: it is their word.
func (d Destruction) Words() string {
	what := "DESTROYED (" + d.Technique + ")"
	if d.Technique == Degauss {
		what = "PURGED (degauss)"
	}
	return what + ", as recorded by " + d.Operator.Name
}

// Destruction signs and logs what people did to a drive, and returns its record. The error is a *RecordError when it is
// refused.
func (is Issuer) Destruction(d Destruction) ([]byte, error) {
	d.Agent, d.Simulated, d.Time, d.Closes = is.Run.Agent, is.Run.Simulated, is.time(), []ResultAt{}
	d.Method = "destroy"
	if d.Technique == Degauss {
		d.Method = "purge"
		if !slices.Contains(magnetic, d.Media) {
			return nil, &RecordError{"degauss_refused", fmt.Sprintf("the media are %q: a degausser purges magnetic media alone, and flash, or what may be flash, keeps its data", d.Media),
				"--technique " + strings.Join(Destroying, ", ")}
		}
	}
	if d.When > is.Now().UTC().Format(time.RFC3339) {
		return nil, &RecordError{"in_the_future", "the destruction is said to be at " + d.When + ", which is after now", "record it when it was done; check the host's clock"}
	}
	var record []byte
	err := is.Log.update(func(t *tree) error {
		results, err := t.all(d.Device.ID, func(l leaf) bool { return l.Kind == kindResult && l.Drive == d.Device.ID })
		if err != nil {
			return err
		}
		d.Known = d.Known || len(results) > 0
		for _, l := range results {
			r, err := statementIn[Result](is.Log, l.leaf)
			if err != nil {
				return err
			}
			if r.Outcome.Status != "sanitized" {
				d.Closes = append(d.Closes, ResultAt{l.index, l.Job, l.Envelope, r.Outcome.Status})
			}
		}
		d.Closes = d.Closes[max(0, len(d.Closes)-maxCloses):]
		if err := d.check(); err != nil {
			return &RecordError{"destruction_refused", "destruction refused: " + err.Error(), ""}
		}
		record, err = addRecord(is, t, DestructionType, d, leaf{Kind: kindDestruction, Drive: d.Device.ID})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("record destruction: %w", err)
	}
	return record, nil
}

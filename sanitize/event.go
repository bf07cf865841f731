package sanitize

import (
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// The kinds of journal records, in the order of a drive's life. Every one is on disk before what
// it announces is done, or after what it reports was done; never the other way round.
const (
	kindOpened       = "opened"       // the job and the drive's plan
	kindIntent       = "intent"       // the intent was signed and logged; nothing destructive before this
	kindAttempt      = "attempt"      // the work begins, or begins again
	kindReidentified = "reidentified" // the open drive is still the planned one
	kindPassBegun    = "pass_begun"   // before the first write of a pass
	kindExtents      = "extents_done" // after a flush: what is on stable media, what failed
	kindPassDone     = "pass_done"    // nothing of the pass is left to write
	kindVerifyBegun  = "verify_begun" // after the erase: which extents will be read
	kindVerified     = "extents_read" // what was read, what could not be, what did not match
	kindVerifyDone   = "verify_done"  // nothing is left to read
	kindStopped      = "stopped"      // the work ended early and can be resumed
	kindFinished     = "finished"     // the work ended for good
)

type openedRecord struct {
	Job        string    `json:"job"`
	PlanDigest string    `json:"plan_digest"`
	Policy     PolicyRef `json:"policy"`
	Request    Request   `json:"request"`
	Simulated  bool      `json:"simulated"`
	Drive      DrivePlan `json:"drive"`
}

type intentRecord struct {
	Index int64  `json:"index"` // of the leaf in the local log
	Leaf  string `json:"leaf"`  // hex
}

type attemptRecord struct {
	N     int    `json:"n"` // from 1
	Agent string `json:"agent"`
}

type reidentifiedRecord struct {
	ID        devices.ID `json:"id"`
	Node      string     `json:"node"`
	SizeBytes int64      `json:"size_bytes"`
	Before    string     `json:"before"` // the step it was done for
}

type passBegunRecord struct {
	Pass    int    `json:"pass"`    // from 1
	Pattern string `json:"pattern"` // "hex:…" or "random", with what chance decided filled in
	// KeySHA256 pins the keystream's key, which is random and 256 bits long: its hash gives
	// nothing away.
	KeySHA256 string `json:"key_sha256,omitempty"`
	Why       string `json:"why,omitempty"` // a pass that is begun anew
}

type extentsRecord struct {
	Pass   int                `json:"pass"`
	Done   []overwrite.Extent `json:"done"`
	Failed []overwrite.Extent `json:"failed,omitempty"`
	Error  string             `json:"error,omitempty"` // of one of Failed
}

type passDoneRecord struct {
	Pass int `json:"pass"`
}

type verifyBegunRecord struct {
	Mode VerifyMode `json:"mode"` // as carried out: a small drive is verified in full
	Seed string     `json:"seed,omitempty"`
	PRNG string     `json:"prng,omitempty"`
}

type verifiedRecord struct {
	Done     []overwrite.Extent `json:"done"`
	Failed   []overwrite.Extent `json:"failed,omitempty"`
	Mismatch []overwrite.Extent `json:"mismatch,omitempty"`
	Error    string             `json:"error,omitempty"`
}

type verifyDoneRecord struct {
	Complete bool   `json:"complete"` // false: stopped early, because the answer was known
	Why      string `json:"why,omitempty"`
}

type stoppedRecord struct {
	Reason string `json:"reason"`
}

// How a job ends for good.
const (
	statusCompleted = "completed" // every step ran to its end; what that proves is Fold's to say
	statusFailed    = "failed"    // the drive or the host reported failure
	statusAbandoned = "abandoned" // a person gave up
	statusRefused   = "refused"   // nothing destructive was done
)

type finishedRecord struct {
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

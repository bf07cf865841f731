package sanitize

import (
	"time"

	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// Outcome is how a drive's job stands or ended.
type Outcome string

// The outcomes. Only Sanitized says that no customer data is left within the plan's scope;
// Exceptions says so but for listed blocks. Every other one means that the drive holds data.
const (
	Sanitized   Outcome = "sanitized"
	Exceptions  Outcome = "exceptions"  // done but for listed areas
	Failed      Outcome = "failed"      // the drive or host reported failure
	Unproven    Outcome = "unproven"    // reported done, verification says otherwise
	Interrupted Outcome = "interrupted" // resumable
	Unknown     Outcome = "unknown"     // cannot be told
	RefusedRun  Outcome = "refused"     // never touched
)

// Evidence is what a journal proves. Only Fold makes it.
type Evidence struct {
	Job        string
	PlanDigest string
	Policy     PolicyRef
	Request    Request
	Simulated  bool
	Drive      DrivePlan

	Outcome Outcome
	Reason  string // why it is not Sanitized; empty when it is

	Attempts      int
	Interruptions int // attempts that did not get to the end
	Started       time.Time
	Finished      time.Time // the last destructive or verifying step
	Passes        []PassEvidence
	BytesWritten  int64 // on stable media, all passes

	Exceptions        []Exception // the first maxExceptions
	ExceptionsOmitted int
	ExceptionBytes    int64

	Verification Verification

	IntentIndex int64
	IntentLeaf  string

	JournalSHA256  string
	JournalRecords int64
}

// PassEvidence is one pass as it was written.
type PassEvidence struct {
	Pass      int
	Pattern   string // as written: "hex:…", or "random" with KeySHA256
	KeySHA256 string
	Started   time.Time
	Finished  time.Time
	Bytes     int64 // on stable media
	Complete  bool  // every block was written or is an exception
}

// Exception is an area that was not sanitized, or not proven to be.
type Exception struct {
	Kind   string // "write error" or "read error"
	Extent overwrite.Extent
}

// maxExceptions bounds the list that evidence carries.
const maxExceptions = 256

// Verification is what reading back showed.
type Verification struct {
	Mode       VerifyMode // as carried out: sampled on a small drive becomes full
	Result     string     // "passed", "failed", "incomplete" or "none"
	Samples    int64      // areas drawn to be read
	Bytes      int64      // read and compared
	Coverage   int64      // of the drive, in millionths
	Seed       string     // hex, sampled only
	PRNG       string
	Expected   string // what was compared with, in words
	Mismatches int64  // blocks
	ReadErrors int64  // blocks
}

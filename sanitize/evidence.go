package sanitize

import (
	"time"

	"github.com/expunge-dev/expunge/devices"
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
	Needs   string // what must be done before an interrupted job can go on: "power_cycle"

	Attempts      int
	Interruptions int // attempts that did not get to the end
	Started       time.Time
	Finished      time.Time // the last destructive or verifying step
	Passes        []PassEvidence
	Operations    []OperationEvidence
	Reshaped      []Reshape // changes of the drive's size; Drive has what it is after them
	HiddenAreas   []HiddenArea
	// Commands are the latest of those that could destroy, CommandsOmitted those before them.
	Commands        []CommandEvidence
	CommandsOmitted int
	Markers         *MarkerEvidence // nil when the technique has none, or none were set
	Health          HealthEvidence
	Warnings        []string
	BytesWritten    int64 // on stable media, all passes

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

// OperationEvidence is one thing that the drive did by itself.
type OperationEvidence struct {
	Technique Technique
	Command   string
	Kind      Kind
	Code      uint32
	Unit      int
	Sends     int // commands sent; more than one only after one that was never begun
	Started   time.Time
	Finished  time.Time
	Complete  bool   // the drive reported success, explicitly, and it is this operation's
	Because   string // what ties the success to this operation
	// EstimateSeconds is the drive's own before the command; nil where it has none.
	EstimateSeconds *int64
	ElapsedSeconds  int64
	Timing          string
	// Status is the drive's last word in words, StatusPage the page it was in, and Before the one
	// before the command.
	Status     string
	StatusPage []byte
	Before     []byte
}

// MarkerEvidence is what became of the markers.
type MarkerEvidence struct {
	Seed string // hex
	PRNG string
	Set  int64 // blocks marked and read back from the media
	// Changed, Unchanged and Unreadable are blocks at the latest reading, after all operations.
	Changed, Unchanged, Unreadable int64
	// UnchangedEver counts blocks that any reading found unchanged.
	UnchangedEver int64
	Read          bool // that reading came to its end
}

// HealthEvidence is the drive's condition around and during the work.
type HealthEvidence struct {
	Before, After   *devices.Health
	MaxTemperatureC *int64
	Samples         int
	Slowed, Paused  int // times that the drive was at its own warning, and its critical temperature
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
	Unwritten  int64  // blocks above write pointers, or of zones that are lost: a read of them says nothing
	Zeros      int64  // blocks of nothing but 00h, after an erase by the drive
	Ones       int64  // blocks of nothing but FFh
}

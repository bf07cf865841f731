package sanitize

import (
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// The kinds of journal records, in the order of a drive's life. Every one is on disk before what
// it announces is done, or after what it reports was done; never the other way round.
const (
	kindOpened       = "opened"             // the job and the drive's plan
	kindIntent       = "intent"             // the intent was signed and logged; nothing destructive before this
	kindAttempt      = "attempt"            // the work begins, or begins again
	kindReidentified = "reidentified"       // the open drive is still the planned one
	kindIdentified   = "identified"         // the drive's own pages about itself, before the first destructive step and after the last
	kindHealth       = "health"             // what the drive says of its condition, from time to time
	kindRestoreBegun = "restore_begun"      // before a hidden area is made accessible
	kindReshaped     = "reshaped"           // the size that the drive has now
	kindLeftHidden   = "left_hidden"        // an area that could not be made accessible
	kindMarkersBegun = "markers_begun"      // before the first write of a marker, or reset of a zone for it
	kindMarkersSet   = "markers_set"        // they are on stable media and were read back from there
	kindDriveStatus  = "drive_status"       // the drive's own account of its sanitize, as it came
	kindArmed        = "password_drawn"     // before an ATA drive gets the password of an erase
	kindReleasing    = "password_comes_off" // before it is taken off without an erase
	kindReleased     = "password_off"       // it was
	kindRetained     = "password_stays"     // the drive answered that it does not take it off
	kindActivating   = "locking_activates"  // before the Locking SP of a self-encrypting drive is
	kindBegun        = "operation_begun"    // before the command is sent
	kindSent         = "operation_sent"     // how the command was completed, or that its fate is unknown
	kindCommand      = "command"            // before a command that can destroy is sent, as it is sent
	kindAnswered     = "command_answered"   // how it was completed
	kindAudited      = "media_verified"     // everything was read that had to be, and the drive is told to leave its media verification
	kindEnded        = "operation_ended"    // the drive reported success, and it is this operation's
	kindMarkersRead  = "markers_read"       // which of them are gone
	kindZonesTold    = "zones_told"         // what the drive says of its zones: before the first operation, after each, and before reading back
	kindPassBegun    = "pass_begun"         // before the first write of a pass
	kindZonesReset   = "zones_reset"        // before zones are reset: what a pass wrote to them is taken back
	kindExtents      = "extents_done"       // after a flush: what is on stable media, what failed
	kindPassDone     = "pass_done"          // nothing of the pass is left to write
	kindVerifyBegun  = "verify_begun"       // after the erase: which extents will be read
	kindVerified     = "extents_read"       // what was read, what could not be, what did not match
	kindVerifyDone   = "verify_done"        // nothing is left to read
	kindPaced        = "paced"              // the drive's temperature changed how fast it is worked
	kindStopped      = "stopped"            // the work ended early and can be resumed
	kindFinished     = "finished"           // the work ended for good
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

type healthRecord struct {
	When   string         `json:"when"` // before, during or after
	Health devices.Health `json:"health"`
	Error  string         `json:"error,omitempty"` // why the drive did not say
}

type pacedRecord struct {
	Pace         string `json:"pace"`      // full, slowed or paused
	InFlight     int    `json:"in_flight"` // requests, at most
	TemperatureC *int64 `json:"temperature_c,omitempty"`
	LimitC       *int64 `json:"limit_c,omitempty"` // the drive's own, that counts
}

type restoreRecord struct {
	Area        string `json:"area"`
	NativeBytes int64  `json:"native_bytes"`
}

type leftHiddenRecord struct {
	Area  string `json:"area"`
	Bytes int64  `json:"bytes"`
	Why   string `json:"why"`
}

type reshapedRecord struct {
	Why           string `json:"why"` // a hidden area's kind, or "format"
	SizeBytes     int64  `json:"size_bytes"`
	LogicalBlock  int    `json:"logical_block_bytes"`
	PhysicalBlock int    `json:"physical_block_bytes"`
}

type armedRecord struct {
	Operation      int    `json:"operation"`
	PasswordSHA256 string `json:"password_sha256"` // random and 160 bits strong: its hash gives nothing away
}

type releasedRecord struct {
	Operation int `json:"operation"`
}

type markersBegunRecord struct {
	Seed string `json:"seed"` // draws the blocks and makes what is written to them
	PRNG string `json:"prng"`
}

type markersSetRecord struct {
	Lost []overwrite.Extent `json:"lost,omitempty"` // could not be written or did not read back
}

type markersReadRecord struct {
	After     int                `json:"after"` // operations that had ended
	Begin     bool               `json:"begin,omitempty"`
	Read      []overwrite.Extent `json:"read,omitempty"`
	Unchanged []overwrite.Extent `json:"unchanged,omitempty"`
	Failed    []overwrite.Extent `json:"failed,omitempty"`
	Constant  int64              `json:"constant,omitempty"` // bytes of blocks with one value throughout
	Error     string             `json:"error,omitempty"`
	End       bool               `json:"end,omitempty"`
}

// zonesToldRecord is a report of the drive's zones, or a part of one. Begin and End are its first and last.
type zonesToldRecord struct {
	After     int                `json:"after"` // operations that had ended
	Pass      int                `json:"pass,omitempty"`
	Begin     bool               `json:"begin,omitempty"`
	Unwritten []overwrite.Extent `json:"unwritten,omitempty"` // above write pointers
	Lost      []overwrite.Extent `json:"lost,omitempty"`      // of zones that are read-only or offline
	End       bool               `json:"end,omitempty"`
}

// When a drive's status was read.
const (
	whenBefore = "before" // nothing of this operation was sent since
	whenAfter  = "after"  // after the command was sent, in this attempt or an earlier one
)

type driveStatusRecord struct {
	Operation int    `json:"operation"` // from 1
	When      string `json:"when"`
	Page      []byte `json:"page,omitempty"`  // as it came: NVMe log page 81h, ATA or SCSI sense data, IDENTIFY DEVICE
	Reset     bool   `json:"reset,omitempty"` // the drive told of a reset since it was last asked
	Error     string `json:"error,omitempty"`
	Warning   string `json:"warning,omitempty"`
}

type begunRecord struct {
	Operation int    `json:"operation"`
	Command   string `json:"command"`
	Code      uint32 `json:"code"`
}

type sentRecord struct {
	Operation int    `json:"operation"`
	Error     string `json:"error,omitempty"`
}

type auditedRecord struct {
	Operation int `json:"operation"`
}

type endedRecord struct {
	Operation int    `json:"operation"`
	Because   string `json:"because"` // what ties the success to this operation
}

type passBegunRecord struct {
	Pass    int    `json:"pass"`    // from 1
	Pattern string `json:"pattern"` // "hex:…" or "random", with what chance decided filled in
	// KeySHA256 pins the keystream's key, which is random and 256 bits long: its hash gives
	// nothing away.
	KeySHA256 string `json:"key_sha256,omitempty"`
	Why       string `json:"why,omitempty"` // a pass that is begun anew
}

type zonesResetRecord struct {
	Pass  int                `json:"pass"`
	Zones []overwrite.Extent `json:"zones"`
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
	// Zeros and Ones count blocks of nothing but 00h or FFh, after an erase by the drive.
	Zeros int64 `json:"zeros,omitempty"`
	Ones  int64 `json:"ones,omitempty"`
}

type verifyDoneRecord struct {
	Complete bool   `json:"complete"` // false: stopped early, because the answer was known
	Why      string `json:"why,omitempty"`
}

type stoppedRecord struct {
	Reason string `json:"reason"`
	Needs  string `json:"needs,omitempty"` // what must be done before it can go on: needsPowerCycle
}

// needsPowerCycle: the drive's power must be taken away and given back.
const needsPowerCycle = "power_cycle"

// How a job ends for good.
const (
	statusCompleted = "completed" // every step ran to its end; what that proves is Fold's to say
	statusFailed    = "failed"    // the drive or the host reported failure
	statusUntold    = "untold"    // what the drive says leaves open what it did
	statusAbandoned = "abandoned" // a person gave up
	statusRefused   = "refused"   // nothing destructive was done
)

type finishedRecord struct {
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

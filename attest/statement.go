package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// The types of a statement. Each version of a predicate is closed: once released, a change is a new
// version.
const (
	StatementType     = "https://in-toto.io/Statement/v1"
	IntentType        = "https://github.com/expunge-dev/expunge/intent/v1"
	SanitizationType  = "https://github.com/expunge-dev/expunge/sanitization/v1"
	CertificateSchema = "https://github.com/expunge-dev/expunge/certificate/v1"
)

// Statement is an in-toto Statement v1 with one of our predicates.
type Statement[P any] struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     P         `json:"predicate"`
}

// Subject names the drive by the digest of its identity, drive-id/v1.
type Subject struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
}

// Digest is in-toto's DigestSet with the one algorithm in use.
type Digest struct {
	SHA256 string `json:"sha256"`
}

// Device is the drive that a statement is about, whose subject has its id. Words of the drive are printable ASCII.
type Device struct {
	Model             string   `json:"model"`
	Serial            string   `json:"serial"`
	WWN               string   `json:"wwn,omitempty"`
	Firmware          string   `json:"firmware,omitempty"`
	Protocol          string   `json:"protocol"`
	Media             string   `json:"media"`
	Identity          string   `json:"identity"` // "drive" or "host-local": who vouches for it
	SizeBytes         int64    `json:"sizeBytes"`
	LogicalBlockBytes int64    `json:"logicalBlockBytes"`
	PowerOnHours      *int64   `json:"powerOnHours,omitempty"`
	Fabric            string   `json:"fabric,omitempty"`
	Nodes             []string `json:"nodes"` // at the time; they change
	// Namespaces are those of an NVMe drive's subsystem: what a sanitize by the drive reaches.
	Namespaces []Namespace `json:"namespaces,omitempty"`
	// LogicalUnits are those of a SCSI or UFS drive that has several, such as one with two actuators; of an
	// eMMC its user area, 0, and its general purpose partitions, from 4.
	LogicalUnits []LogicalUnit `json:"logicalUnits,omitempty"`
	Zones        *Zones        `json:"zones,omitempty"` // of a hard disk that is written zone by zone
}

// LogicalUnit is one of a SCSI drive's.
type LogicalUnit struct {
	LUN       int64 `json:"lun"`
	SizeBytes int64 `json:"sizeBytes"`
}

// Namespace is one of an NVMe drive's.
type Namespace struct {
	NSID      int64  `json:"nsid"`
	Attached  bool   `json:"attached"` // to a controller of the host: it could be read back
	SizeBytes int64  `json:"sizeBytes"`
	Zones     *Zones `json:"zones,omitempty"` // of one that is written zone by zone
}

// Zones is how a zoned namespace or hard disk is divided. Behind the capacity of a zone there are no blocks up to the start of the
// next. Sizes and offsets everywhere count the blocks that exist: offset x is of zone x / capacityBytes.
type Zones struct {
	Count         int64 `json:"count"`
	SizeBytes     int64 `json:"sizeBytes"` // from the start of a zone to that of the next
	CapacityBytes int64 `json:"capacityBytes"`
}

// possible says whether the zones of a namespace add up to its size.
func (n Namespace) possible() bool {
	if n.NSID <= 0 || n.SizeBytes <= 0 {
		return false
	}
	return n.Zones.possible(n.SizeBytes)
}

// possible says whether zones add up to a size; nil are none.
func (z *Zones) possible(size int64) bool {
	return z == nil || z.Count > 0 && z.CapacityBytes > 0 && z.CapacityBytes <= z.SizeBytes && size%z.CapacityBytes == 0 && size/z.CapacityBytes == z.Count
}

// DriveID computes drive-id/v1: SHA-256 over "drive-id/v1" and model, serial and WWN, each with
// its length as four big-endian bytes before it.
func (d Device) DriveID() string {
	h := sha256.New()
	h.Write([]byte("drive-id/v1"))
	for _, s := range []string{d.Model, d.Serial, d.WWN} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Policy names the rules that the method was chosen under.
type Policy struct {
	Name     string `json:"name"`
	SHA256   string `json:"sha256"`
	Standard string `json:"standard,omitempty"`
}

// Agent is the program that speaks.
type Agent struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Intent is signed and logged before the first destructive step.
type Intent struct {
	Agent        Agent  `json:"agent"`
	Device       Device `json:"device"`
	Scope        string `json:"scope"`
	Simulated    bool   `json:"simulated"`
	Job          string `json:"job"`
	PlanSHA256   string `json:"planSHA256"`
	Policy       Policy `json:"policy"`
	Method       string `json:"method"`
	Technique    string `json:"technique"`
	Scheme       string `json:"scheme,omitempty"`
	Verification string `json:"verification"`
	Disposition  string `json:"disposition,omitempty"`
	Category     string `json:"category,omitempty"`
	Attempt      int64  `json:"attempt"`                // how many intents of this drive the log has, with this one
	PreviousLeaf string `json:"previousLeaf,omitempty"` // of this drive in this log: its history is a chain
	Time         Time   `json:"time"`
}

// Time is the host's clock: a claim, bounded by nothing in this version.
type Time struct {
	Claimed string `json:"claimed"` // RFC 3339, UTC, seconds
	Source  string `json:"source"`  // "host clock"
}

// Result is the sanitization predicate: what was done to one drive, and what that proves.
type Result struct {
	Agent        Agent        `json:"agent"`
	Device       Device       `json:"device"`
	Scope        string       `json:"scope"` // "device" or "logical"
	Simulated    bool         `json:"simulated"`
	Outcome      Outcome      `json:"outcome"`
	Sanitization Sanitization `json:"sanitization"`
	Verification Verification `json:"verification"`
	HiddenAreas  []HiddenArea `json:"hiddenAreas,omitempty"`
	Health       *Health      `json:"health,omitempty"`
	Policy       Policy       `json:"policy"`
	Disposition  string       `json:"disposition,omitempty"`
	Category     string       `json:"category,omitempty"`
	Given        *Given       `json:"given,omitempty"`
	Evidence     Evidence     `json:"evidence"`
	History      History      `json:"history"`
	Signers      []string     `json:"signers"` // key ids of all signatures: none can be taken away
	Time         Time         `json:"time"`
}

// Outcome is the judgement.
type Outcome struct {
	Status            string      `json:"status"`
	Method            string      `json:"method,omitempty"` // achieved; only with sanitized and exceptions
	Reason            string      `json:"reason,omitempty"` // always but with sanitized
	Exceptions        []Exception `json:"exceptions"`
	ExceptionsOmitted int64       `json:"exceptionsOmitted"`
	ExceptionBytes    int64       `json:"exceptionBytes"`
}

// Exception is an area that was not sanitized or not proven to be.
type Exception struct {
	Kind   string `json:"kind"` // "write error" or "read error"
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
}

// Sanitization is what was planned and carried out.
type Sanitization struct {
	Method        string   `json:"method"` // planned
	Technique     string   `json:"technique"`
	Scheme        string   `json:"scheme,omitempty"`
	Passes        []Pass   `json:"passes"`
	Started       string   `json:"started,omitempty"` // absent: no step was begun
	Finished      string   `json:"finished,omitempty"`
	BytesWritten  int64    `json:"bytesWritten"`
	Attempts      int64    `json:"attempts"`
	Interruptions int64    `json:"interruptions"`
	Excludes      []string `json:"excludes"`
	// Operations are what the drive did by itself; absent where the host did everything.
	Operations []Operation `json:"operations,omitempty"`
	// Commands are the latest of those that could change or destroy anything, as they were sent; those before
	// them are counted.
	Commands        []Command `json:"commands,omitempty"`
	CommandsOmitted int64     `json:"commandsOmitted,omitempty"`
	// BlocksBarred: an earlier sanitize had failed, so nothing could be marked before this one.
	BlocksBarred bool `json:"blocksBarred,omitempty"`
	// Reshaped: what changed the drive's size before or by the erase. Sizes elsewhere are those after it.
	Reshaped []Reshape `json:"reshaped,omitempty"`
	// RestsOn lists what the result rests on that no host can prove.
	RestsOn  []string `json:"restsOn,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Reshape is a change of the size that a drive shows to the host: hidden blocks were made
// accessible before the erase, or a format changed the logical blocks.
type Reshape struct {
	Why                   string `json:"why"` // "host protected area", "accessible max address", "device configuration overlay", "format"
	FromBytes             int64  `json:"fromBytes"`
	ToBytes               int64  `json:"toBytes"`
	FromLogicalBlockBytes int64  `json:"fromLogicalBlockBytes"`
	ToLogicalBlockBytes   int64  `json:"toLogicalBlockBytes"`
}

// Markers are blocks that were written before an erase, to be gone after it.
type Markers struct {
	Set        int64  `json:"set"` // blocks, on the media before the erase
	Changed    int64  `json:"changed"`
	Unchanged  int64  `json:"unchanged"`
	Unreadable int64  `json:"unreadable"`
	Seed       string `json:"seed"`
	PRNG       string `json:"prng"`
}

// Health is what the drive said of its condition.
type Health struct {
	Before          *Condition `json:"before,omitempty"`
	After           *Condition `json:"after,omitempty"`
	MaxTemperatureC *int64     `json:"maxTemperatureC,omitempty"`
	Samples         int64      `json:"samples"` // times it was asked
	// Slowed and Paused count how often it was worked more slowly at its own warning temperature, and not at all at
	// its critical one, until it was five degrees cooler.
	Slowed int64 `json:"slowed,omitempty"`
	Paused int64 `json:"paused,omitempty"`
}

// Condition is one answer. What the drive does not say is absent.
type Condition struct {
	TemperatureC    *int64 `json:"temperatureC,omitempty"`
	PowerOnHours    *int64 `json:"powerOnHours,omitempty"`
	PowerCycles     *int64 `json:"powerCycles,omitempty"`
	StartStopCycles *int64 `json:"startStopCycles,omitempty"` // of a SCSI disk's spindle
	// DataUnitsWritten are thousands of 512 bytes that hosts wrote, rounded up.
	DataUnitsWritten *int64 `json:"dataUnitsWritten,omitempty"`
	CriticalWarning  *int64 `json:"criticalWarning,omitempty"`
	SparePercent     *int64 `json:"sparePercent,omitempty"`
	UsedPercent      *int64 `json:"usedPercent,omitempty"`
	MediaErrors      *int64 `json:"mediaErrors,omitempty"`
	Reallocated      *int64 `json:"reallocated,omitempty"`
	Pending          *int64 `json:"pending,omitempty"`
	Uncorrectable    *int64 `json:"uncorrectable,omitempty"`
}

// Pass is one overwrite of the drive.
type Pass struct {
	Pass      int64  `json:"pass"`
	Pattern   string `json:"pattern"` // "hex:…" or "random"
	KeySHA256 string `json:"keySHA256,omitempty"`
	Bytes     int64  `json:"bytes"` // on stable media
	Complete  bool   `json:"complete"`
}

// Verification is what reading back showed.
type Verification struct {
	Mode        string `json:"mode"`   // status, sampled or full
	Result      string `json:"result"` // passed, failed, incomplete or none
	Samples     int64  `json:"samples"`
	Bytes       int64  `json:"bytes"`
	CoveragePPM int64  `json:"coveragePPM"`
	Seed        string `json:"seed,omitempty"`
	PRNG        string `json:"prng,omitempty"`
	Expected    string `json:"expected,omitempty"`
	Mismatches  int64  `json:"mismatches"` // blocks
	ReadErrors  int64  `json:"readErrors"` // blocks
	// UnwrittenBlocks are above write pointers of zones, or in zones that have none any more: a read of them says
	// nothing of the media, and they count as unread.
	UnwrittenBlocks int64 `json:"unwrittenBlocks,omitempty"`
	// ZeroBlocks and OneBlocks hold nothing but 00h or FFh, after an erase by the drive.
	ZeroBlocks int64    `json:"zeroBlocks,omitempty"`
	OneBlocks  int64    `json:"oneBlocks,omitempty"`
	Markers    *Markers `json:"markers,omitempty"`
}

// Evidence pins what the result was derived from.
type Evidence struct {
	JournalSHA256  string `json:"journalSHA256"` // of its last line, which pins all before it
	JournalRecords int64  `json:"journalRecords"`
	PlanSHA256     string `json:"planSHA256"`
	// BundleSHA256 and BundleBytes pin the evidence bundle: the plan and the whole journal in one file, which
	// is handed out beside the certificate or kept.
	BundleSHA256 string `json:"bundleSHA256,omitempty"`
	BundleBytes  int64  `json:"bundleBytes,omitempty"`
}

// History ties the result to its intent.
type History struct {
	Job         string `json:"job"`
	IntentIndex int64  `json:"intentIndex"`
	IntentLeaf  string `json:"intentLeaf"`
}

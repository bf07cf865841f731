package attest

import (
	"cmp"
	"fmt"
	"slices"
)

// Grade is how much a finding of an audit weighs.
type Grade string

// The grades, worst first.
const (
	Contradiction Grade = "contradiction" // the evidence contradicts itself: something was taken away, changed or replaced
	Omission      Grade = "omission"      // all that is there is authentic, and something that is due is not there
	Note          Grade = "note"          // what an auditor wants to know; nothing is wrong with the evidence
)

// The codes of findings. They are stable: a code is never given a second meaning.
const (
	FoundCheckpointMissing  = "checkpoint_missing"
	FoundCheckpointInvalid  = "checkpoint_invalid"
	FoundRewound            = "log_rewound"
	FoundForked             = "log_forked"
	FoundTileMissing        = "tile_missing"
	FoundTileCut            = "tile_cut"
	FoundTileAltered        = "tile_altered"
	FoundLeavesMissing      = "leaves_missing"
	FoundLeavesCut          = "leaves_cut"
	FoundLeafAltered        = "leaf_altered"
	FoundLeafMalformed      = "leaf_malformed"
	FoundStatementAltered   = "statement_altered"
	FoundIntentRepeated     = "intent_repeated"
	FoundResultRepeated     = "result_repeated"
	FoundNoIntent           = "result_without_intent"
	FoundOtherIntent        = "intent_mismatch"
	FoundChainBroken        = "chain_broken"
	FoundCertificateInvalid = "certificate_invalid"
	FoundCertificateNoLeaf  = "certificate_without_leaf"
	FoundKeysDamaged        = "keys_damaged"
	FoundSessionOtherLog    = "session_mismatch"
	FoundNoSession          = "statement_without_session"
	FoundUntrustedKey       = "untrusted_key"
	FoundKeyRevoked         = "key_revoked"
	FoundKeyNotThen         = "key_not_valid_then"
	FoundUntrustedLog       = "untrusted_log"
	FoundSessionMissing     = "session_missing"
	FoundLeafUncommitted    = "leaf_uncommitted"
	FoundStatementMissing   = "statement_missing"
	FoundIntentOpen         = "intent_open"
	FoundNoCertificate      = "result_without_certificate"
	FoundIntentUnfinished   = "intent_unfinished"
	FoundFailedBefore       = "failure_before_success"
	FoundCertificateForeign = "certificate_foreign"

	FoundRecordMismatch      = "record_mismatch"
	FoundValidatorDependent  = "validator_not_independent"
	FoundAcceptedUnsanitized = "accepted_not_sanitized"
	FoundManifestRepeated    = "manifest_repeated"
	FoundManifestMismatch    = "manifest_mismatch"
	FoundCosignedInvalid     = "cosigned_invalid"
	FoundManifestMissing     = "manifest_missing"
	FoundRecordMissing       = "record_missing"
	FoundValidationWithheld  = "validation_withheld"
	FoundSupersedingWithheld = "supersession_withheld"
	FoundCertificateOutdated = "certificate_outdated"
	FoundFailureClosed       = "failure_closed"
	FoundWorkAfter           = "work_after_destruction"
)

// grades of the codes. What is not here contradicts.
var grades = map[string]Grade{
	FoundUntrustedKey: Omission, FoundKeyRevoked: Omission, FoundKeyNotThen: Omission, FoundUntrustedLog: Omission, FoundSessionMissing: Omission, FoundLeafUncommitted: Omission, FoundStatementMissing: Omission, FoundIntentOpen: Omission, FoundNoCertificate: Omission,
	FoundManifestMissing: Omission, FoundRecordMissing: Omission, FoundValidationWithheld: Omission, FoundSupersedingWithheld: Omission,
	FoundCertificateOutdated: Note, FoundFailureClosed: Note, FoundWorkAfter: Note,
	FoundIntentUnfinished: Note, FoundFailedBefore: Note, FoundCertificateForeign: Note,
}

// Finding is one thing that an audit found.
type Finding struct {
	Grade   Grade  `json:"grade"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Index   *int64 `json:"index,omitempty"` // of the entry in the log; the first one where it is of several
	Serial  string `json:"serial,omitempty"`
	Job     string `json:"job,omitempty"`
	File    string `json:"file,omitempty"` // within the log, or a certificate's
}

// at is the finding about an entry.
func (f Finding) at(index int64) Finding {
	f.Index = &index
	return f
}

// of is the finding about a file.
func (f Finding) of(file string) Finding {
	f.File = file
	return f
}

func found(code, format string, args ...any) Finding {
	grade, ok := grades[code]
	if !ok {
		grade = Contradiction
	}
	return Finding{Grade: grade, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Audited is what an audit says of a log.
type Audited struct {
	KeyID        string         `json:"keyid"`  // of the host that vouches for the newest session
	Origin       string         `json:"origin"` // of the log; empty when its key is not known
	Trust        string         `json:"trust"`  // "trusted", "self" or "untrusted"
	Simulated    bool           `json:"simulated"`
	Size         int64          `json:"size"`         // entries, by the checkpoint where it is authentic
	Root         string         `json:"root"`         // hex, of the checkpoint; empty without an authentic one
	Cosignatures int            `json:"cosignatures"` // on the checkpoint, by others than the log; not checked
	Tiles        int            `json:"tiles"`
	Sessions     int            `json:"sessions"`
	Intents      int            `json:"intents"`
	Results      int            `json:"results"`
	Outcomes     map[string]int `json:"outcomes"` // results by status; those without a statement are not in it
	Drives       int            `json:"drives"`
	Validations  int            `json:"validations"`
	Supersedings int            `json:"supersessions"`
	Manifests    int            `json:"manifests"`
	Destructions int            `json:"destructions"`
	Certificates int            `json:"certificates"` // files, of this log
	Records      int            `json:"records"`      // files that are no certificates, of this log
	Findings     []Finding      `json:"findings"`     // worst first
}

// Count is how many findings have a grade.
func (a Audited) Count(g Grade) int {
	n := 0
	for _, f := range a.Findings {
		if f.Grade == g {
			n++
		}
	}
	return n
}

// Code is the audit as an exit code: CodeInvalid when anything contradicts, CodePolicy when
// something is missing, CodeOK otherwise.
func (a Audited) Code() int {
	switch {
	case a.Count(Contradiction) > 0:
		return CodeInvalid
	case a.Count(Omission) > 0:
		return CodePolicy
	}
	return CodeOK
}

// sortFindings puts the worst first, and those of a grade in the order of the log: what is of no entry first.
func sortFindings(list []Finding) {
	order := []Grade{Contradiction, Omission, Note}
	index := func(f Finding) int64 {
		if f.Index == nil {
			return -1
		}
		return *f.Index
	}
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(slices.Index(order, a.Grade)-slices.Index(order, b.Grade), cmp.Compare(index(a), index(b)), cmp.Compare(a.Code, b.Code), cmp.Compare(a.File, b.File))
	})
}

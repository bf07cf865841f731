package virtual

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// Fault is something that goes wrong with a drive. Its text form is its only form; FaultHelp lists
// them.
type Fault struct {
	Kind  string
	Block int64  // first block, of kinds that lie on blocks
	Count int64  // blocks; or the number
	Word  string // of kinds that are told apart by a word
}

// The kinds of faults.
const (
	WriteError       = "write-error"
	ReadError        = "read-error"
	DropWrites       = "drop-writes"
	SkipErase        = "skip-erase"
	PowerCut         = "power-cut"
	Pulled           = "pulled"
	Slow             = "slow"
	Hot              = "hot" // KiB for each degree Celsius
	Hang             = "hang"
	Reset            = "reset"
	SanitizeFail     = "sanitize-fail"
	SanitizePowerCut = "sanitize-power-cut"
	SanitizeRefused  = "sanitize-refused"
	FormatReset      = "format-reset"
	ProgressStuck    = "progress-stuck"
	ProgressBackward = "progress-backward"
	Lie              = "lie"
	LogMissing       = "log-missing"
	LogZero          = "log-zero"
	Registers        = "registers"
	HBAZero          = "hba-zero"
	Refuse           = "refuse"
	SMARTCritical    = "smart-critical"
	ZoneReadOnly     = "zone-read-only"
	ZoneOffline      = "zone-offline"
	ZoneStuck        = "zone-stuck"
	RevertPowerCut   = "revert-power-cut"
	SessionLost      = "session-lost"
	TCGAnswer        = "tcg-answer"
)

// The lies of a drive that reports success.
const (
	LieNothing    = "nothing"    // nothing was erased
	LieIgnored    = "ignored"    // the command was completed and nothing begun: the log stays as it was
	LieHidden     = "hidden"     // what the host can address was erased, hidden blocks were not
	LieKeepKey    = "keep-key"   // all was done but for the media keys, which are the old ones
	LieDeallocate = "deallocate" // blocks were unmapped: they read as zeros and are all still there
	// LieZonesReset: all was done, and the zones were reset in the end, whatever the command said of them.
	LieZonesReset = "zones-reset"
)

// sanitizeFaults are those of drives that can erase themselves.
var sanitizeFaults = []string{SkipErase, SanitizeFail, SanitizePowerCut, SanitizeRefused, ProgressStuck, ProgressBackward, Lie}

// form is how a kind of fault is written.
type form struct {
	kind, want, example, help string
	words                     []string // of kinds told apart by a word
	extent                    bool
	most                      int64 // of a number
}

var forms = []form{
	{kind: WriteError, want: "LBA+COUNT", example: "2048+8", help: "writing these blocks fails with an I/O error", extent: true},
	{kind: ReadError, want: "LBA+COUNT", example: "2048+8", help: "reading them does", extent: true},
	{kind: DropWrites, want: "LBA+COUNT", example: "2048+8", help: "writes to them succeed and change nothing; drop-writes alone is all blocks", extent: true},
	{kind: SkipErase, want: "LBA+COUNT", example: "2048+800", help: "an erase by the drive reports success and leaves these blocks as they were", extent: true},
	{kind: PowerCut, want: "N", example: "1000", help: "power fails in the n-th write from the next opening on; it is back at the opening after that", most: math.MaxInt64},
	{kind: Pulled, want: "N", example: "1000", help: "the drive is gone from the n-th request on, until the fault is cleared", most: math.MaxInt64},
	{kind: Slow, want: "BYTES", example: "1000000", help: "at most so many bytes per second", most: math.MaxInt64},
	{kind: Hot, want: "KIB", example: "64", help: "it warms by a degree with every so many KiB written, and cools by five when it is asked and nothing was", most: 1 << 31},
	{kind: Hang, want: "SECONDS", example: "30", help: "the first write takes so long, and meanwhile the drive answers nothing", most: 1 << 31},
	{kind: Reset, want: "N", example: "3", help: "the n-th command is carried out, and a reset of the controller takes its answer away", most: math.MaxInt64},
	{kind: SanitizeFail, want: "PERCENT", example: "40", help: "an erase by the drive fails after so much of it", most: 99},
	{kind: SanitizePowerCut, want: "PERCENT", example: "40", help: "power fails after so much of an erase; a sanitize goes on when power is back, no other does", most: 99},
	{kind: FormatReset, want: "PERCENT", example: "40", help: "a reset of the controller ends a Format NVM after so much of it, and takes its answer away; once", most: 99},
	{kind: SanitizeRefused, want: "STATUS", example: "2", help: "an erase is refused: with this NVMe status, with this reason of ATA sanitize, or by SCSI with 05/24/00", most: 0x7ff},
	{kind: ProgressStuck, want: "SECONDS", example: "30", help: "a sanitize stands still half way for so long", most: 1 << 31},
	{kind: ProgressBackward, want: "PERCENT", example: "60", help: "the progress of a sanitize falls to half when it gets there", most: 99},
	{kind: Lie, want: "WHAT", example: LieNothing, help: "a sanitize reports success: nothing erased; ignored altogether; hidden blocks left; blocks only deallocated; keys kept; zones reset against the command",
		words: []string{LieNothing, LieIgnored, LieHidden, LieDeallocate, LieKeepKey, LieZonesReset}},
	{kind: RevertPowerCut, want: "PERCENT", example: "50", help: "power fails when so much of the media keys is changed by a revert, GenKey or Erase of TCG, and nothing else of it done", most: 99},
	{kind: SessionLost, want: "N", example: "2", help: "the TPer closes the TCG session in its n-th method since power-on", most: math.MaxInt64},
	{kind: TCGAnswer, want: "HOW", example: "zero", help: "answers of TCG are wrong: Level 0 discovery all zero; answers in sessions all zero, cut short, or never ready",
		words: []string{answerNoDiscovery, answerZero, answerTruncated, answerNever}},
	{kind: LogMissing, want: "PAGE", example: "sanitize", help: "this log page is not supported, nor is what ATA and SCSI have in its place", words: []string{"smart", "sanitize"}},
	{kind: LogZero, want: "PAGE", example: "sanitize", help: "it is all zero", words: []string{"smart", "sanitize"}},
	{kind: SMARTCritical, want: "BITS", example: "4", help: "the SMART log of an NVMe drive has these critical warnings, and the drive works on", most: 0x3f},
	{kind: ZoneReadOnly, want: "ZONE+COUNT", example: "2+1", help: "these zones of a zoned drive are read-only", extent: true},
	{kind: ZoneOffline, want: "ZONE+COUNT", example: "2+1", help: "they are offline: nothing is read from or written to them", extent: true},
	{kind: ZoneStuck, want: "ZONE+COUNT", example: "2+1", help: "writes to them succeed and change nothing, and their write pointers stay", extent: true},
	{kind: Registers, want: "HOW", example: "none", help: "the translation returns no ATA registers, or zeros", words: []string{"none", "zero"}},
	{kind: HBAZero, want: "REGISTER", example: "count", help: "the host adapter zeroes this register of ATA commands without data", words: []string{"count", "lba"}},
	{kind: Refuse, want: "COMMAND", example: "set-password", help: "the drive refuses this command: " + strings.Join(slices.Concat(ataRefusals, scsiRefusals), ", "), words: slices.Concat(ataRefusals, scsiRefusals)},
}

// FaultHelp lists the forms of faults, one a line, for people.
func FaultHelp() string {
	var b strings.Builder
	for _, f := range forms {
		want := f.want
		if f.words != nil && f.kind != Refuse {
			want = strings.Join(f.words, "|")
		}
		fmt.Fprintf(&b, "  %-46s %s\n", f.kind+":"+want, f.help)
	}
	return b.String()
}

func formOf(kind string) (form, bool) {
	at := slices.IndexFunc(forms, func(f form) bool { return f.kind == kind })
	if at < 0 {
		return form{}, false
	}
	return forms[at], true
}

// ParseFault reads the text form.
func ParseFault(s string) (Fault, error) {
	kind, rest, has := strings.Cut(s, ":")
	f := Fault{Kind: kind}
	form, known := formOf(kind)
	if !known {
		kinds := make([]string, len(forms))
		for i, form := range forms {
			kinds[i] = form.kind + ":" + form.want
		}
		return Fault{}, fmt.Errorf("fault %q: not one of %s", s, strings.Join(kinds, ", "))
	}
	bad := fmt.Errorf("fault %q: want %s:%s, as in %s:%s", s, kind, form.want, kind, form.example)
	switch {
	case form.extent && kind == DropWrites && !has:
		f.Count = math.MaxInt64
	case form.extent:
		lba, count, plus := strings.Cut(rest, "+")
		var errB, errC error
		f.Block, errB = strconv.ParseInt(lba, 10, 64)
		f.Count, errC = strconv.ParseInt(count, 10, 64)
		if !plus || errB != nil || errC != nil || f.Block < 0 || f.Count < 1 || f.Block > math.MaxInt64-f.Count {
			return Fault{}, bad
		}
	case form.words != nil:
		if f.Word = rest; !slices.Contains(form.words, rest) {
			return Fault{}, bad
		}
	default:
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil || n < 1 || n > form.most {
			return Fault{}, bad
		}
		f.Count = n
	}
	return f, nil
}

// String is the text form.
func (f Fault) String() string {
	form, _ := formOf(f.Kind)
	switch {
	case f.Kind == DropWrites && f.Count == math.MaxInt64:
		return f.Kind
	case form.extent:
		return fmt.Sprintf("%s:%d+%d", f.Kind, f.Block, f.Count)
	case form.words != nil:
		return f.Kind + ":" + f.Word
	}
	return fmt.Sprintf("%s:%d", f.Kind, f.Count)
}

// MarshalText and UnmarshalText keep faults readable in a drive's file.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text form.
func (f *Fault) UnmarshalText(text []byte) error {
	parsed, err := ParseFault(string(text))
	*f = parsed
	return err
}

// covers says whether the fault lies on a block.
func (f Fault) covers(block int64) bool { return block >= f.Block && block-f.Block < f.Count }

// faults of a drive, found by kind.
type faults []Fault

// find is the first fault of a kind.
func (l faults) find(kind string) (Fault, bool) {
	at := slices.IndexFunc(l, func(f Fault) bool { return f.Kind == kind })
	if at < 0 {
		return Fault{}, false
	}
	return l[at], true
}

// has says whether there is a fault of a kind and word.
func (l faults) has(kind, word string) bool {
	return slices.ContainsFunc(l, func(f Fault) bool { return f.Kind == kind && f.Word == word })
}

// on says whether a fault of a kind lies on a block.
func (l faults) on(kind string, block int64) bool {
	return slices.ContainsFunc(l, func(f Fault) bool { return f.Kind == kind && f.covers(block) })
}

// The commands that a drive can be made to refuse.
var (
	ataRefusals  = []string{"set-password", "erase-prepare", "erase-unit", "set-max"}
	scsiRefusals = []string{"mode-select", "format"}
)

// lacks says what keeps a fault from drives of a profile; "" when nothing does.
func (p Profile) lacks(f Fault) string {
	status := (f.Kind == LogMissing || f.Kind == LogZero) && f.Word == "sanitize"
	ata := f.Kind == Registers || f.Kind == HBAZero || f.Kind == Refuse && slices.Contains(ataRefusals, f.Word)
	tcg := f.Kind == RevertPowerCut || f.Kind == SessionLost || f.Kind == TCGAnswer || f.Kind == Lie && f.Word == LieKeepKey
	switch {
	case tcg && p.tcg.kind == "":
		return "has no TCG subsystem"
	case slices.Contains(sanitizeFaults, f.Kind) && !p.erases():
		return "cannot erase itself"
	case status && len(p.Sanitize) == 0:
		return "cannot sanitize itself"
	case f.Kind == FormatReset && !p.NVMeFormat:
		return "has no Format NVM"
	case f.Kind == SMARTCritical && p.Protocol != devices.ProtocolNVMe:
		return "has no NVMe log"
	case (f.Kind == ZoneReadOnly || f.Kind == ZoneOffline || f.Kind == ZoneStuck || f.Kind == Lie && f.Word == LieZonesReset) && !p.zoned:
		return "has no zones"
	case ata && !p.translated():
		return "has no ATA commands"
	case f.Kind == Refuse && !ata && !p.Format:
		return "has no FORMAT UNIT"
	}
	return ""
}

package sanitize

import (
	"context"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// Kind says which command an operation is, and so how the drive is asked after it.
type Kind string

// The commands by which drives erase themselves.
const (
	NVMeSanitize     Kind = "NVMe Sanitize"
	ATASanitize      Kind = "ATA SANITIZE DEVICE"
	ATASecurityErase Kind = "ATA SECURITY ERASE UNIT"
	SCSISanitize     Kind = "SCSI SANITIZE"
	NVMeFormat       Kind = "NVMe Format"
	SCSIFormat       Kind = "SCSI FORMAT UNIT"
	TCGRevertCommand Kind = "TCG Revert"
	TCGKeysCommand   Kind = "TCG GenKey or Erase"
)

// keeps says whether the drive keeps its account without power, so that nothing is lost between two
// looks. SCSI drives, formats of NVMe drives, and new keys, keep none:
// that they are at rest says nothing of how they came to it.
func (k Kind) keeps() bool {
	return k != SCSISanitize && k != SCSIFormat && k != NVMeFormat && k != TCGKeysCommand
}

// completesWhenDone says whether the drive completes the command only when it has done what it orders.
func (k Kind) completesWhenDone() bool {
	return k == ATASecurityErase || k == NVMeFormat || k == TCGRevertCommand || k == TCGKeysCommand
}

// OutlastsPower says whether what the drive is ordered to do goes on after a loss of power (ACS-4 4.17, SBC-4 4.11, NVMe base 2.0
// 5.24): a sanitize does, anything else is to be begun again.
func (dp DrivePlan) OutlastsPower() bool {
	return len(dp.Operations) > 0 && !slices.ContainsFunc(dp.Operations, func(o Operation) bool {
		return o.Kind != NVMeSanitize && o.Kind != ATASanitize && o.Kind != SCSISanitize
	})
}

// commandSet is how operations of one kind are sent and asked after. What parse and estimate say
// depends on the page alone: the judge of a journal hears the same as whoever waited.
type commandSet interface {
	// ask has the drive say how it stands, and returns that as it came. reset says that the drive
	// told of a reset or a loss of power since it was last asked.
	ask(ctx context.Context, t devices.Transport, p devices.Protocol) (page []byte, reset bool, err error)
	// parse reads such a page, of a drive that the planned operation was or will be sent to.
	parse(page []byte, planned Operation) (account, error)
	// estimate is the drive's own, in seconds, from the page before the command.
	estimate(page []byte, planned Operation) (seconds int64, known bool)
	// send sends the command of operation i, once. answered is false when its fate is unknown. A
	// *fault says that the drive took nothing.
	send(ctx context.Context, r *run, i int) (answered bool, err error)
}

var commandSets = map[Kind]commandSet{
	NVMeSanitize: nvmeSanitize{}, NVMeFormat: nvmeFormat{}, ATASanitize: ataSanitize{}, ATASecurityErase: ataSecurityErase{}, SCSISanitize: scsiErase{}, SCSIFormat: scsiErase{},
	TCGRevertCommand: tcgErase{keepsAccount: true}, TCGKeysCommand: tcgErase{},
}

func commandSetOf(o Operation) (commandSet, error) {
	set, ok := commandSets[o.Kind]
	if !ok {
		return nil, fmt.Errorf("operation %q is of kind %q, which is not known to this program", o.Command, o.Kind)
	}
	return set, nil
}

// phase is where a drive stands with what it does by itself.
type phase int

// The phases. The zero value is none of them: what a drive is not known to do is unknown.
const (
	_ phase = iota
	atRest
	running
	verifying // an erase is done, and its media can be read before blocks are deallocated
	failed
)

// account is what a drive says of its own erase, whatever its command set.
type account struct {
	phase phase
	// mine: nothing in it says that another command than the planned one began it. Only NVMe names
	// the command.
	mine bool
	// explicit: it says in every way the command set has that the planned operation succeeded. Where
	// the account is kept for ever an older success looks the same.
	explicit     bool
	unrestricted bool // a failure can be left without success
	cancelled    bool // a reset took it out of its media verification
	cutOff       bool // it lost its power in the middle, and does not go on by itself
	active       bool // a self-encrypting drive's Locking SP is, without which a revert erases nothing
	barred       bool // blocks cannot be read and written as they are: the drive is locked
	written      bool // blocks were written since the latest success
	unmapped     bool // succeeded, and deallocated blocks that it was told to leave
	progress     uint16
	hasProgress  bool
	words        string // what it comes to: "succeeded"
	detail       string // what else is in it, for errors
}

// all is all of it in words.
func (a account) all() string {
	if a.detail == "" {
		return a.words
	}
	return a.words + ", " + a.detail
}

// percent is how far it is.
func (a account) percent() int { return int(a.progress) * 100 / wholeProgress }

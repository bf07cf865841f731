package sanitize

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// refusedBy says that the drive refused the command of operation i: what was done to it all the same,
// and what can be done next.
func (r *run) refusedBy(i int, refusal error) error {
	command := r.drive.Operations[i].Command
	var done []string
	if r.restoring || r.restored > 0 {
		done = append(done, "blocks hidden from the host may have been made accessible")
	}
	if m := r.markers; m != nil && m.isSet {
		done = append(done, fmt.Sprintf("%d blocks had been overwritten with markers", m.set.Bytes()/int64(r.drive.LogicalBlock)))
	} else if m != nil {
		done = append(done, "blocks may have been overwritten with markers")
	}
	for _, o := range r.drive.Operations[:i] {
		done = append(done, o.Command+" had been carried out")
	}
	words := "nothing was begun"
	if len(done) > 0 {
		words = "nothing was begun by it; before that, " + strings.Join(done, ", ")
	}
	var answer *nvme.StatusError
	if errors.As(refusal, &answer) && nextStep[answer.Number()] != "" {
		return fmt.Errorf("%s: the drive refused the command, and %s: %w: %s, then make a new plan", command, words, refusal, nextStep[answer.Number()])
	}
	return fmt.Errorf("%s: the drive refused the command, and %s: %w", command, words, refusal)
}

// nextStep is what to do about a refusal of Sanitize or Format NVM (NVMe base 2.0, 5.14, 5.24).
var nextStep = map[uint16]string{
	nvme.StatusInvalidField:       "ask for another technique",
	nvme.StatusOperationDenied:    "unlock the drive's own security, or lift the lockdown of its commands",
	nvme.StatusSanitizeFailed:     "ask for a sanitize that is restricted, as nothing else is taken after a failed one",
	nvme.StatusWriteProtected:     "remove the write protection of its namespaces",
	nvme.StatusReservation:        "release the reservation on the host that holds it",
	nvme.StatusInvalidFormat:      "ask for another technique",
	nvme.StatusFirmwareReset:      "take power from the drive and give it back, so that its new firmware is activated",
	nvme.StatusFirmwareSubsystem:  "take power from the drive and give it back, so that its new firmware is activated",
	nvme.StatusFirmwareController: "take power from the drive and give it back, so that its new firmware is activated",
	nvme.StatusPMREnabled:         "disable the persistent memory region, or take power from the drive and give it back",
	nvme.StatusSuspended:          "end the migration of the controller",
	nvme.StatusAccessDenied:       "unlock the drive's own security",
	nvme.StatusPersistentLoss:     "join the parts of its subsystem, or attach the drive by another controller",
	nvme.StatusInaccessible:       "join the parts of its subsystem, or attach the drive by another controller",
}

package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// ReasonReserved is the code of a drive that another host has laid its hand on, or may have.
const ReasonReserved = "reserved"

// readReservations refuses a drive when a host is registered for the reservation of any of its namespaces
// that have a node (NVMe base 2.0, 8.19): whoever is registered may be writing. A namespace that says it
// has reservations and does not tell is refused, too. open gives the nodes other than the first, which t is:
// the kernel lets a namespace's node send the commands of that namespace only.
func readReservations(ctx context.Context, t Transport, d *Drive, open func(node string) (Transport, error)) error {
	for _, n := range d.Namespaces {
		if !n.reserves || n.Node == "" {
			continue
		}
		if err := readReservationOf(ctx, t, d, n, open); err != nil {
			return fmt.Errorf("whether another host has reserved namespace %d: %w", n.NSID, err)
		}
	}
	return nil
}

func readReservationOf(ctx context.Context, t Transport, d *Drive, n Namespace, open func(node string) (Transport, error)) (err error) {
	if n.Number != t.Number() {
		if t, err = open(n.Node); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close()) }()
	}
	s, err := reservationStatus(ctx, t, n)
	var answer *nvme.StatusError
	switch {
	case errors.As(err, &answer) && (answer.Number() == nvme.StatusSanitizeInProgress || answer.Number() == nvme.StatusSanitizeFailed || answer.Number() == nvme.StatusFormatInProgress):
		return nil // nobody reaches its blocks, and it is judged by that
	case errors.As(err, &answer) || errors.Is(err, errMalformed) || errors.Is(err, ErrNoDoor):
		d.refuse(StateBlocked, Reason{ReasonReserved, fmt.Sprintf("namespace %d has reservations, and whether another host has reserved it cannot be told: %v", n.NSID, err),
			"detach the drive from every other host, then take its power away and give it back"})
		return nil
	case err != nil:
		return err
	case s.REGCTL == 0:
		return nil
	}
	key, how := s.Registrants[0].RKEY, "and nobody holds it"
	if s.RTYPE != 0 {
		how = fmt.Sprintf("and one of them holds it (%v)", s.RTYPE)
	}
	for _, r := range s.Registrants {
		if r.Holds {
			key, how = r.RKEY, fmt.Sprintf("which holds it (%v)", s.RTYPE)
			break
		}
	}
	d.refuse(StateBlocked, Reason{ReasonReserved, fmt.Sprintf("another host has reserved it: %d registered for namespace %d, one with key %016x, %s", s.REGCTL, n.NSID, key, how),
		"unregister them there, or clear the reservation, if it is yours"})
	return nil
}

// errMalformed: the drive answered, and the answer cannot be read.
var errMalformed = errors.New("malformed")

// reservationStatus asks in the short form, which every drive with reservations knows, and in the extended one
// where the drive wants it for the sake of its hosts' identifiers.
func reservationStatus(ctx context.Context, t Transport, n Namespace) (nvme.ReservationStatus, error) {
	extended := false
	page, err := admin(ctx, t, nvme.ReservationReport{NSID: n.NSID}.Command())
	var answer *nvme.StatusError
	if errors.As(err, &answer) && answer.Number() == nvme.StatusHostIDFormat {
		extended = true
		page, err = admin(ctx, t, nvme.ReservationReport{NSID: n.NSID, Extended: true}.Command())
	}
	if err != nil {
		return nvme.ReservationStatus{}, err
	}
	s, err := nvme.ParseReservationStatus(page, extended)
	if err != nil {
		err = fmt.Errorf("%w: %w", errMalformed, err)
	}
	return s, err
}

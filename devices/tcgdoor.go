package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// The three command sets carry a security protocol each by commands of its own. None of the doors sends
// anything twice but questions of which the answer is the same each time: an answer to a method is given
// once, and a method must not be called again.

// A drive may hold a command back until a revert has come far, and a host that loses patience resets the
// drive, which aborts the revert (Opal 2.30 5.1.2.2).
const (
	leastSecurity   = time.Minute
	usualSecurity   = 10 * time.Minute
	longestSecurity = 24 * time.Hour
)

// securityTimeout is what the context leaves for a command, within bounds.
func securityTimeout(ctx context.Context) time.Duration {
	deadline, has := ctx.Deadline()
	if !has {
		return usualSecurity
	}
	return min(max(time.Until(deadline), leastSecurity), longestSecurity)
}

// repeatable says whether a question is answered the same each time: the list of protocols, and
// discovery.
func repeatable(protocol uint8, specific uint16) bool {
	return protocol == 0 || protocol == 1 && specific == 1
}

// nvmeSecurity is Security Send and Security Receive.
type nvmeSecurity struct{ t Transport }

func (d nvmeSecurity) Send(ctx context.Context, protocol uint8, specific uint16, data []byte) error {
	done, err := d.t.NVMe(ctx, nvme.Security{Protocol: protocol, Specific: specific, Data: data, Timeout: securityTimeout(ctx)}.Command())
	if err == nil {
		err = done.Err()
	}
	return err
}

func (d nvmeSecurity) Receive(ctx context.Context, protocol uint8, specific uint16, size int) ([]byte, error) {
	c := nvme.Security{Protocol: protocol, Specific: specific, Receive: true, Data: make([]byte, size), Timeout: securityTimeout(ctx)}.Command()
	if repeatable(protocol, specific) {
		return admin(ctx, d.t, c)
	}
	done, err := d.t.NVMe(ctx, c)
	if err == nil {
		err = done.Err()
	}
	return c.Data, err
}

// scsiSecurity is SECURITY PROTOCOL IN and OUT.
type scsiSecurity struct {
	t        Transport
	inBlocks bool
}

func (d scsiSecurity) Send(ctx context.Context, protocol uint8, specific uint16, data []byte) error {
	c, err := scsi.SecurityProtocol{Protocol: protocol, Specific: specific, InBlocks: d.inBlocks, Data: data, Timeout: securityTimeout(ctx)}.Command()
	if err != nil {
		return err
	}
	r, err := d.t.SCSI(ctx, c)
	if err == nil {
		err = r.Err()
	}
	return err
}

func (d scsiSecurity) Receive(ctx context.Context, protocol uint8, specific uint16, size int) ([]byte, error) {
	c, err := scsi.SecurityProtocol{Protocol: protocol, Specific: specific, In: true, InBlocks: d.inBlocks, Data: make([]byte, size), Timeout: securityTimeout(ctx)}.Command()
	if err != nil {
		return nil, err
	}
	if repeatable(protocol, specific) {
		return dataIn(ctx, d.t, c)
	}
	r, err := d.t.SCSI(ctx, c)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return r.In(c), nil
}

// ataSecurity is TRUSTED SEND and TRUSTED RECEIVE through the translation.
type ataSecurity struct {
	t     Transport
	short bool // by ATA PASS-THROUGH(12)
}

func (d ataSecurity) command(ctx context.Context, protocol uint8, specific uint16, receive bool, data []byte) (*scsi.Command, error) {
	a, err := ata.Trusted{Protocol: protocol, Specific: specific, Receive: receive, Data: data, Timeout: securityTimeout(ctx)}.Command()
	if err != nil {
		return nil, err
	}
	if d.short {
		return a.SCSI12()
	}
	return a.SCSI()
}

func (d ataSecurity) Send(ctx context.Context, protocol uint8, specific uint16, data []byte) error {
	c, err := d.command(ctx, protocol, specific, false, data)
	if err != nil {
		return err
	}
	r, err := d.t.SCSI(ctx, c)
	if err != nil {
		return err
	}
	if _, err = ata.ParseRegisters(r); errors.Is(err, ata.ErrNoRegisters) && r.HostStatus == 0 {
		return nil // whether the drive took it is told by its answer
	}
	return err
}

func (d ataSecurity) Receive(ctx context.Context, protocol uint8, specific uint16, size int) ([]byte, error) {
	c, err := d.command(ctx, protocol, specific, true, make([]byte, size))
	if err != nil {
		return nil, err
	}
	send := d.t.SCSI
	if repeatable(protocol, specific) {
		send = func(ctx context.Context, c *scsi.Command) (scsi.Result, error) { return ask(ctx, d.t, c) }
	}
	r, err := send(ctx, c)
	if err != nil {
		return nil, err
	}
	return ata.ParseData(c, r)
}

// doorsOf are the ways by which a drive's TPer may be reached, in the order in which they are tried.
func doorsOf(ctx context.Context, t Transport, p Protocol) ([]tcg.Door, error) {
	switch p {
	case ProtocolNVMe:
		return []tcg.Door{nvmeSecurity{t}}, nil
	case ProtocolSCSI:
		return []tcg.Door{scsiSecurity{t, false}, scsiSecurity{t, true}}, nil
	case ProtocolATA:
		// Linux lets TRUSTED commands through only where it was told to, and its own translation always.
		var doors []tcg.Door
		translates, err := hasSecurityCommands(ctx, t)
		if IsGone(err) {
			return nil, err
		}
		if err == nil && translates {
			doors = append(doors, scsiSecurity{t, true}, scsiSecurity{t, false})
		}
		return append(doors, ataSecurity{t, false}, ataSecurity{t, true}), nil
	}
	return nil, fmt.Errorf("a drive of protocol %s: %w", p, ErrNoDoor)
}

// hasSecurityCommands asks whether a logical unit or translation has SECURITY PROTOCOL IN and OUT.
func hasSecurityCommands(ctx context.Context, t Transport) (bool, error) {
	for _, opcode := range []uint8{scsi.OpcodeSecurityIn, scsi.OpcodeSecurityOut} {
		page, err := dataIn(ctx, t, scsi.ReportOpcode{Opcode: opcode}.Command())
		if err != nil {
			return false, err
		}
		if s, err := scsi.ParseOpcodeSupport(page); err != nil || s != scsi.SupportedStandard {
			return false, err
		}
	}
	return true, nil
}

// OpenTCG finds the door by which a drive's TPer answers, and returns it with its Level 0 discovery. It
// only asks. The errors of all doors are in the error when none leads there.
func OpenTCG(ctx context.Context, t Transport, p Protocol) (tcg.Door, tcg.Discovery, error) {
	doors, err := doorsOf(ctx, t, p)
	if err != nil {
		return nil, tcg.Discovery{}, err
	}
	var failed error
	for _, door := range doors {
		d, err := tcg.Discover(ctx, door)
		if err == nil {
			return door, d, nil
		}
		if IsGone(err) || ctx.Err() != nil {
			return nil, tcg.Discovery{}, err
		}
		failed = errors.Join(failed, err)
	}
	return nil, tcg.Discovery{}, failed
}

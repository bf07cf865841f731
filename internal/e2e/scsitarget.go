package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// The device that a guest sees of virtual SCSI and SATA drives: a virtio SCSI host (virtio 1.2, 5.6), each
// drive a target, each of its logical units a LUN. It passes CDBs on and answers nothing by itself but
// for targets that are not there.

const (
	queueControl  = 0
	queueEvent    = 1
	queueRequest  = 2
	requestHeader = 51  // lun, id, attributes, 32 bytes of CDB
	answerHeader  = 108 // with 96 bytes of sense data

	responseOK        = 0
	responseBadTarget = 3
	responseReset     = 4
	responseFailure   = 9

	eventTransportReset = 1
	reasonRescan        = 1
	reasonRemoved       = 2
)

// scsiTarget serves drives to guests.
type scsiTarget struct {
	ctx context.Context

	mu     sync.Mutex                      // guards what follows
	units  map[[2]uint16]devices.Transport // by target and LUN
	events []*chain                        // buffers for what the guest is to be told
	before func(target uint16, cdb []byte) // may be nil; may block
}

func newSCSITarget(ctx context.Context) *scsiTarget {
	return &scsiTarget{ctx: ctx, units: map[[2]uint16]devices.Transport{}}
}

func (s *scsiTarget) device() vhostDevice {
	config := make([]byte, 36)
	le := binary.LittleEndian
	for i, v := range []uint32{1, 126, 0xffff, 128, 16, 96, 32} { // queues, segments, sectors, commands per unit, event, sense and CDB sizes
		le.PutUint32(config[4*i:], v)
	}
	le.PutUint16(config[28:], 0)
	le.PutUint16(config[30:], 63) // targets
	le.PutUint32(config[32:], 7)  // units
	return vhostDevice{features: 1<<1 | 1<<2, config: config, queues: 3, serve: s.serve}
}

// attach makes a drive's unit appear. The guest is told when it runs.
func (s *scsiTarget) attach(target, lun uint16, t devices.Transport) {
	s.mu.Lock()
	s.units[[2]uint16{target, lun}] = t
	s.mu.Unlock()
	s.tell(target, lun, reasonRescan)
}

// detach makes it disappear, as when it is pulled.
func (s *scsiTarget) detach(target, lun uint16) {
	s.mu.Lock()
	delete(s.units, [2]uint16{target, lun})
	s.mu.Unlock()
	s.tell(target, lun, reasonRemoved)
}

// tell has the guest take note of a change.
func (s *scsiTarget) tell(target, lun uint16, reason uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return // no guest runs
	}
	c := s.events[0]
	s.events = s.events[1:]
	b := make([]byte, 16)
	binary.LittleEndian.PutUint32(b, eventTransportReset)
	b[4], b[5], b[6], b[7] = 1, byte(target), byte(lun>>8), byte(lun)
	binary.LittleEndian.PutUint32(b[12:], reason)
	go c.complete(b)
}

// forget drops the buffers of a guest that has ended.
func (s *scsiTarget) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

func (s *scsiTarget) serve(queue int, c *chain) {
	switch queue {
	case queueEvent:
		s.mu.Lock()
		s.events = append(s.events, c)
		s.mu.Unlock()
	case queueControl:
		s.control(c)
	default:
		s.request(c)
	}
}

// control answers task management: what is under way cannot be taken back, and ends by itself.
func (s *scsiTarget) control(c *chain) {
	if binary.LittleEndian.Uint32(append(c.request(), 0, 0, 0, 0)) == 0 {
		c.complete([]byte{0}) // FUNCTION COMPLETE
		return
	}
	c.complete([]byte{0, 0, 0, 0, 0})
}

func (s *scsiTarget) request(c *chain) {
	b := c.request()
	if len(b) < requestHeader || c.room() < answerHeader {
		c.complete(make([]byte, answerHeader))
		return
	}
	answer := make([]byte, answerHeader, c.room())
	target, lun := uint16(b[1]), binary.BigEndian.Uint16(b[2:])&0x3fff
	s.mu.Lock()
	t, before := s.units[[2]uint16{target, lun}], s.before
	any := s.units[[2]uint16{target, 0}] != nil
	s.mu.Unlock()
	cdb := b[19:requestHeader]
	cdb = cdb[:cdbLength(cdb)]
	switch {
	case t == nil && !any || b[0] != 1:
		answer[11] = responseBadTarget
		c.complete(answer)
		return
	case t == nil:
		absent(cdb, answer[:answerHeader], c)
		return
	}
	if before != nil {
		before(target, cdb)
	}
	command := &scsi.Command{CDB: cdb, Timeout: time.Hour}
	switch n := c.room() - answerHeader; {
	case n > 0:
		command.Direction, command.Data = scsi.DataIn, make([]byte, n)
	case len(b) > requestHeader:
		command.Direction, command.Data = scsi.DataOut, b[requestHeader:]
	}
	r, err := t.SCSI(s.ctx, command)
	switch {
	case devices.IsGone(err):
		answer[11] = responseBadTarget
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		answer[11] = responseFailure
	case r.HostStatus == 8:
		answer[11] = responseReset
	}
	le := binary.LittleEndian
	le.PutUint32(answer, uint32(min(len(r.Sense), 96)))
	le.PutUint32(answer[4:], uint32(len(command.Data)-r.Transferred))
	answer[10] = r.Status
	copy(answer[12:], r.Sense)
	if command.Direction == scsi.DataIn {
		answer = append(answer, command.Data[:r.Transferred]...)
	}
	c.complete(answer)
}

// absent answers for a logical unit that a target does not have (SPC-5 6.6.1, 5.11).
func absent(cdb, answer []byte, c *chain) {
	if cdb[0] == 0x12 && c.room() > answerHeader {
		data := make([]byte, min(c.room()-answerHeader, 36))
		data[0] = 0x7f
		binary.LittleEndian.PutUint32(answer[4:], uint32(c.room()-answerHeader-len(data)))
		c.complete(append(answer, data...))
		return
	}
	answer[10] = 2
	copy(answer[12:], []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0})
	answer[0] = 18
	binary.LittleEndian.PutUint32(answer[4:], uint32(c.room()-answerHeader))
	c.complete(answer)
}

// cdbLength is a CDB's by its group code (SPC-5 4.2.5.1).
func cdbLength(cdb []byte) int {
	switch cdb[0] >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return len(cdb)
}

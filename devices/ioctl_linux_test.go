package devices

import (
	"testing"
	"time"
	"unsafe"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// The kernel reads these structures byte by byte (scsi/sg.h, linux/nvme_ioctl.h, x86-64).
func TestKernelStructures(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the layout is that of 64-bit kernels")
	}
	var h sgHeader
	var p nvmePassthru
	for _, x := range []struct {
		name      string
		got, want uintptr
	}{
		{"sg_io_hdr", unsafe.Sizeof(h), 88}, {"dxfer_direction", unsafe.Offsetof(h.direction), 4}, {"cmd_len", unsafe.Offsetof(h.cmdLen), 8},
		{"mx_sb_len", unsafe.Offsetof(h.maxSenseLen), 9}, {"dxfer_len", unsafe.Offsetof(h.dataLen), 12}, {"dxferp", unsafe.Offsetof(h.data), 16},
		{"cmdp", unsafe.Offsetof(h.cmd), 24}, {"sbp", unsafe.Offsetof(h.sense), 32}, {"timeout", unsafe.Offsetof(h.timeout), 40},
		{"status", unsafe.Offsetof(h.status), 64}, {"sb_len_wr", unsafe.Offsetof(h.senseLen), 67}, {"host_status", unsafe.Offsetof(h.hostStatus), 68},
		{"driver_status", unsafe.Offsetof(h.driverStatus), 70}, {"resid", unsafe.Offsetof(h.residual), 72}, {"info", unsafe.Offsetof(h.info), 80},
		{"nvme_passthru_cmd", unsafe.Sizeof(p), 72}, {"nsid", unsafe.Offsetof(p.nsid), 4}, {"metadata", unsafe.Offsetof(p.metadata), 16}, {"addr", unsafe.Offsetof(p.addr), 24},
		{"metadata_len", unsafe.Offsetof(p.metadataLen), 32}, {"data_len", unsafe.Offsetof(p.dataLen), 36}, {"cdw10", unsafe.Offsetof(p.cdw10), 40}, {"cdw15", unsafe.Offsetof(p.cdw15), 60},
		{"timeout_ms", unsafe.Offsetof(p.timeoutMS), 64}, {"result", unsafe.Offsetof(p.result), 68},
	} {
		if x.got != x.want {
			t.Errorf("%s is %d, the kernel has %d", x.name, x.got, x.want)
		}
	}
}

// A timeout of zero is the kernel's own 60 s, after which it resets a drive in the middle of an erase.
func TestKernelRequests(t *testing.T) {
	sense := make([]byte, senseSize)
	in := &scsi.Command{CDB: make([]byte, 16), Direction: scsi.DataIn, Data: make([]byte, 512), Timeout: 20 * time.Second}
	h, err := header(in, sense)
	if err != nil || h.interfaceID != 'S' || h.direction != -3 || h.cmdLen != 16 || h.dataLen != 512 || h.timeout != 20000 || h.data != unsafe.Pointer(&in.Data[0]) || h.cmd != unsafe.Pointer(&in.CDB[0]) || h.maxSenseLen != senseSize {
		t.Errorf("%+v, %v", h, err)
	}
	out := &scsi.Command{CDB: make([]byte, 6), Direction: scsi.DataOut, Data: make([]byte, 8), Timeout: time.Second}
	if h, err := header(out, sense); err != nil || h.direction != -2 {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := header(&scsi.Command{CDB: make([]byte, 6), Timeout: 30 * 24 * time.Hour}, sense); err != nil || h.direction != -1 || h.data != nil || h.timeout != 2_592_000_000 {
		t.Errorf("%+v, %v", h, err)
	}
	for name, c := range map[string]*scsi.Command{
		"no timeout": {CDB: make([]byte, 6)}, "a year": {CDB: make([]byte, 6), Timeout: 365 * 24 * time.Hour}, "no command": {Timeout: time.Second}, "7 bytes": {CDB: make([]byte, 7), Timeout: time.Second},
		"data and no direction": {CDB: make([]byte, 6), Data: make([]byte, 1), Timeout: time.Second}, "direction and no data": {CDB: make([]byte, 6), Direction: scsi.DataIn, Timeout: time.Second},
	} {
		if h, err := header(c, sense); err == nil {
			t.Errorf("%s: %+v", name, h)
		}
	}
	c := nvme.IdentifyController{}.Command()
	p, err := passthru(c)
	if err != nil || p.opcode != 6 || p.flags != 0 || p.cdw10 != 1 || p.dataLen != 4096 || p.addr != unsafe.Pointer(&c.Data[0]) || p.timeoutMS != 20000 || p.metadata != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := passthru(&nvme.Command{Opcode: 0x84}); err == nil {
		t.Errorf("no timeout: %+v", p)
	}
}

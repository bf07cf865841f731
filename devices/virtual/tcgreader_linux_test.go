package virtual

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/open-source-firmware/go-tcg-storage/pkg/core"
	"github.com/open-source-firmware/go-tcg-storage/pkg/core/table"
	tcg "github.com/open-source-firmware/go-tcg-storage/pkg/drive"
	"github.com/open-source-firmware/go-tcg-storage/pkg/locking"
)

// reader lets a library that was written apart from this drive speak to it.
type reader struct{ *host }

func (r reader) IFRecv(protocol tcg.SecurityProtocol, specific uint16, data *[]byte) error {
	reply, failed := r.transfer(byte(protocol), specific, nil, len(*data))
	if failed != 0 {
		return fmt.Errorf("IF-RECV %02x:%04x: %06x", protocol, specific, failed)
	}
	clear(*data)
	copy(*data, reply)
	return nil
}

func (r reader) IFSend(protocol tcg.SecurityProtocol, specific uint16, data []byte) error {
	if _, failed := r.transfer(byte(protocol), specific, data, 0); failed != 0 {
		return fmt.Errorf("IF-SEND %02x:%04x: %06x", protocol, specific, failed)
	}
	return nil
}

// must ends the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// The library discovers the drive, takes ownership, activates and locks it, and reverts it as SID and
// by the label, over every transport.
func TestReadByLibrary(t *testing.T) {
	for _, x := range []struct{ profile, door string }{{"nvme-opal-inactive", "nvme"}, {"sata-opal-inactive", "scsi512"}, {"sata-opal-inactive", "ata"}} {
		h := tcgRig(t, Spec{Profile: x.profile})
		h.door = x.door
		r := reader{h}
		d0 := must[*core.Level0Discovery](t)(core.Discovery0(r))
		if d0.OpalV2 == nil || d0.Locking == nil || !d0.Locking.MediaEncryption || d0.Locking.LockingEnabled || d0.BlockSID == nil || d0.DataRemoval == nil || len(d0.UnknownFeatures) != 0 {
			t.Fatalf("%s: %+v", x.profile, d0)
		}
		open := func(sp core.SPID, authority core.AuthorityObjectUID, pin []byte) *core.Session {
			t.Helper()
			cs := must[*core.ControlSession](t)(core.NewControlSession(r, d0, core.WithComID(core.ComID(d0.OpalV2.BaseComID))))
			s := must[*core.Session](t)(cs.NewSession(sp))
			if pin != nil {
				if err := table.ThisSP_Authenticate(s, authority, pin); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
		call := func(s *core.Session, object core.InvokingID, method core.MethodID) {
			t.Helper()
			if _, err := s.ExecuteMethod(s.NewMethodCall(object, method)); err != nil {
				t.Fatal(err)
			}
		}
		revert := core.MethodID{0, 0, 0, 6, 0, 0, 2, 2}

		s := open(core.AdminSP, core.AuthoritySID, nil)
		msid := must[[]byte](t)(table.Admin_C_PIN_MSID_GetPIN(s))
		if err := table.ThisSP_Authenticate(s, core.AuthoritySID, []byte("wrong")); err != table.ErrAuthenticationFailed {
			t.Errorf("%s: a wrong PIN: %v", x.profile, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s = open(core.AdminSP, core.AuthoritySID, msid)
		if state := must[table.LifeCycleState](t)(table.Admin_SP_GetLifeCycleState(s, core.LockingSP)); state != locking.LifeCycleStateManufacturedInactive {
			t.Errorf("%s: life cycle %d", x.profile, state)
		}
		own := table.NewSetCall(s, table.RowUID{0, 0, 0, 0x0b, 0, 0, 0, 1})
		own.StartOptionalParameter(3, "PIN")
		own.Bytes([]byte("owner"))
		own.EndOptionalParameter()
		table.FinishSetCall(s, own)
		if _, err := s.ExecuteMethod(own); err != nil {
			t.Fatal(err)
		}
		call(s, core.InvokingID(core.LockingSP), table.MethodIDAdmin_Activate)
		if err := s.Close(); err != nil {
			t.Error(err)
		}

		cs, meta, err := locking.Initialize(r, locking.WithAuth(locking.DefaultAdminAuthority([]byte("owner"))))
		if err != nil {
			t.Fatal(err)
		}
		l := must[*locking.LockingSP](t)(locking.NewSession(cs, meta, locking.DefaultAuthority([]byte("owner"))))
		if len(l.Ranges) != tcgRanges || l.GlobalRange == nil {
			t.Fatalf("%s: %d ranges", x.profile, len(l.Ranges))
		}
		for _, do := range []func() error{func() error { return l.GlobalRange.SetReadLockEnabled(true) }, l.GlobalRange.LockRead} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		if info := must[*table.LockingInfoRow](t)(table.LockingInfo(l.Session)); *info.MaxRanges != tcgRanges-1 {
			t.Errorf("%s: %d ranges at most", x.profile, *info.MaxRanges)
		}
		if size := must[*table.MBRTableInfo](t)(table.MBR_TableInfo(l.Session)); size.Size != mbrSize {
			t.Errorf("%s: an MBR of %d bytes", x.profile, size.Size)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if ok, _ := h.readable(); ok {
			t.Errorf("%s: the locked drive is read", x.profile)
		}
		h.holds(x.profile+" locked", true, true)
		call(open(core.AdminSP, core.AuthoritySID, []byte("owner")), core.InvokingID(core.AdminSP), revert)
		h.holds(x.profile+" reverted", false, false)
		if d0 = must[*core.Level0Discovery](t)(core.Discovery0(r)); d0.Locking.LockingEnabled || d0.Locking.Locked || d0.BlockSID.SIDValueState {
			t.Errorf("%s after the revert: %+v, %+v", x.profile, d0.Locking, d0.BlockSID)
		}
		before := h.medium().Key()
		call(open(core.AdminSP, core.AuthorityPSID, h.psid()), core.InvokingID(core.AdminSP), revert)
		if !bytes.Equal(before, h.medium().Key()) {
			t.Errorf("%s: PSID revert of an inactive Locking SP changed the key", x.profile)
		}
	}
}

// Owned drives open by what is on their label alone; the bands of Enterprise are read by their names.
func TestOwnedDrivesReadByLibrary(t *testing.T) {
	h := tcgRig(t, Spec{Profile: "nvme-opal-owned"})
	r := reader{h}
	d0 := must[*core.Level0Discovery](t)(core.Discovery0(r))
	cs := must[*core.ControlSession](t)(core.NewControlSession(r, d0, core.WithComID(core.ComID(d0.OpalV2.BaseComID))))
	s := must[*core.Session](t)(cs.NewSession(core.AdminSP))
	if err := table.ThisSP_Authenticate(s, core.AuthorityPSID, h.psid()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ExecuteMethod(s.NewMethodCall(core.InvokingID(core.AdminSP), core.MethodID{0, 0, 0, 6, 0, 0, 2, 2})); err != nil {
		t.Fatal(err)
	}
	h.holds("PSID revert", false, false)

	h = tcgRig(t, Spec{Profile: "sas-enterprise"})
	cs, meta, err := locking.Initialize(reader{h})
	if err != nil {
		t.Fatal(err)
	}
	l := must[*locking.LockingSP](t)(locking.NewSession(cs, meta, locking.DefaultAuthorityWithMSID))
	if l.GlobalRange == nil {
		t.Errorf("bands: %+v", l.Ranges)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

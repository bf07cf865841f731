package tcg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// want compares hex without its spaces.
func want(t *testing.T, what, got, hex string) {
	t.Helper()
	if hex = strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(hex, " ", ""), "\n", "")); got != hex {
		t.Errorf("%s:\n got %s\nwant %s", what, got, hex)
	}
}

// Every byte of a revert by PSID: a TPer that is told anything else does something else.
func TestRevertByPSIDToTheByte(t *testing.T) {
	p := &tper{t: t, answer: answerAlways("F0 F1" + ok)}
	d := discovered(t, featTPer, featLocking, featOpal2)
	psid := pin("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345")
	s, err := OpenSession(t.Context(), p, d, AdminSP, PSID, psid)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Revert(t.Context(), AdminSP); err != nil {
		t.Fatal(err)
	}
	if len(p.log) != 3 {
		t.Fatal(p.log)
	}
	if !strings.HasPrefix(p.log[0], "F8A800000000000000FFA8000000000000FF01F0F200F0F2D0104D6178436F6D5061636B657453697A65820800F3") {
		t.Error(p.log[0])
	}
	want(t, "StartSession", p.log[1], "F8 A800000000000000FF A8000000000000FF02 F0 84HHHHHHHH A80000020500000001 01"+
		"F2 00 D020 4142434445464748494A4B4C4D4E4F505152535455565758595A303132333435 F3 F2 03 A8 000000090001FF01 F3 F1 F9 F0 00 00 00 F1")
	want(t, "Revert", p.log[2], "F8 A8 0000020500000001 A8 0000000600000202 F0 F1 F9 F0 00 00 00 F1")
	if string(psid.Reveal()[:4]) != "ABCD" {
		t.Error("the caller's PSID was wiped")
	}
	for i, b := range p.raw {
		if !zeros(b[:cap(b)]) {
			t.Errorf("the buffer of message %d was left as it was sent", i)
		}
	}

	// The TPer aborts the session: nothing more is sent in it.
	if err := s.Close(t.Context()); err != nil || len(p.log) != 3 {
		t.Error(err, p.log[3:])
	}
	if err := s.Revert(t.Context(), AdminSP); !errors.Is(err, ErrSessionAborted) || len(p.log) != 3 {
		t.Error(err)
	}
}

// The bytes that Linux sends, of which it has been seen that drives take them.
func TestStartSessionAsLinuxSendsIt(t *testing.T) {
	e := &encoder{b: make([]byte, 0, 512)}
	callOf(sessionManager, methodStartSession, func(e *encoder) { e.uint(0x41); e.uid(UID(AdminSP)); e.bool(true) })(e)
	want(t, "StartSession", fmt.Sprintf("%X", e.b), "F8 A800000000000000FF A8000000000000FF02 F0 8141 A80000020500000001 01 F1 F9 F0 00 00 00 F1")
}

// Each operation to the byte, by the SSC's form of it.
func TestOperationsToTheByte(t *testing.T) {
	opal, enterprise := []string{featTPer, featLocking, featOpal2}, []string{featTPer, featLocking, featEnterprise}
	const end = "F9 F0 00 00 00 F1"
	key := UID(0x0000080600030001)
	band := Range{UID: 0x0000080200000002}
	for _, c := range []struct {
		name     string
		features []string
		sp       SP
		as       Authority
		do       func(context.Context, *Session) error
		answer   string
		sent     string
	}{
		{"activate", opal, AdminSP, SID, func(ctx context.Context, s *Session) error { return s.Activate(ctx) }, "F0 F1", "F8 A80000020500000002 A80000000600000203 F0 F1" + end},
		{"revert of the Locking SP", opal, AdminSP, SID, func(ctx context.Context, s *Session) error { return s.Revert(ctx, LockingSP) }, "F0 F1", "F8 A80000020500000002 A80000000600000202 F0 F1" + end},
		{"RevertSP keeps no key", opal, LockingSP, Admin1, func(ctx context.Context, s *Session) error { return s.RevertSP(ctx) }, "F0 F1", "F8 A80000000000000001 A80000000600000011 F0 F1" + end},
		{"GenKey", opal, LockingSP, Admin1, func(ctx context.Context, s *Session) error { return s.GenKey(ctx, key) }, "F0 F1", "F8 A80000080600030001 A80000000600000010 F0 F1" + end},
		{"erase of a band", enterprise, EnterpriseLockingSP, EraseMaster, func(ctx context.Context, s *Session) error { return s.Erase(ctx, band) }, "F0 F1", "F8 A80000080200000002 A80000000600000803 F0 F1" + end},
		{"authenticate", opal, AdminSP, Anybody, func(ctx context.Context, s *Session) error { return s.Authenticate(ctx, SID, pin("abc")) }, "F0 01 F1",
			"F8 A80000000000000001 A8000000060000001C F0 A80000000900000006 F2 00 A3 616263 F3 F1" + end},
		{"authenticate, Enterprise", enterprise, EnterpriseLockingSP, Anybody, func(ctx context.Context, s *Session) error { return s.Authenticate(ctx, BandMaster(2), pin("abc")) }, "F0 01 F1",
			"F8 A80000000000000001 A8000000060000000C F0 A80000000900008003 F2 A9 4368616C6C656E6765 A3 616263 F3 F1" + end},
		{"MSID", opal, AdminSP, Anybody, func(ctx context.Context, s *Session) error {
			m, err := s.ReadMSID(ctx)
			if err == nil && string(m.Reveal()) != "msid" {
				err = errors.New("another MSID")
			}
			return err
		}, "F0 F0 F2 03 A4 6D736964 F3 F1 F1", "F8 A80000000B00008402 A80000000600000016 F0 F0 F2 03 03 F3 F2 04 03 F3 F1 F1" + end},
		{"MSID, Enterprise", enterprise, AdminSP, Anybody, func(ctx context.Context, s *Session) error {
			m, err := s.ReadMSID(ctx)
			if err == nil && string(m.Reveal()) != "msid" {
				err = errors.New("another MSID")
			}
			return err
		}, "F0 F0 F0 F2 A3 50494E A4 6D736964 F3 F1 F1 F1",
			"F8 A80000000B00008402 A80000000600000006 F0 F0 F2 AB 7374617274436F6C756D6E A3 50494E F3 F2 A9 656E64436F6C756D6E A3 50494E F3 F1 F1" + end},
		{"life cycle", opal, AdminSP, Anybody, func(ctx context.Context, s *Session) error {
			l, err := s.ReadLifeCycle(ctx)
			if err == nil && l != Manufactured {
				err = fmt.Errorf("%v", l)
			}
			return err
		}, "F0 F0 F2 06 09 F3 F1 F1", "F8 A80000020500000002 A80000000600000016 F0 F0 F2 03 06 F3 F2 04 06 F3 F1 F1" + end},
		{"data removal", opal, AdminSP, Anybody, func(ctx context.Context, s *Session) error {
			n, err := s.ReadDataRemoval(ctx)
			if err == nil && n != 2 {
				err = fmt.Errorf("%d", n)
			}
			return err
		}, "F0 F0 F2 01 02 F3 F1 F1", "F8 A80000110100000001 A80000000600000016 F0 F0 F2 03 01 F3 F2 04 01 F3 F1 F1" + end},
		{"set the data removal", opal, AdminSP, SID, func(ctx context.Context, s *Session) error { return s.SetDataRemoval(ctx, 1) }, "F0 F1",
			"F8 A80000110100000001 A80000000600000017 F0 F2 01 F0 F2 01 01 F3 F1 F3 F1" + end},
		{"set the SID's PIN", enterprise, AdminSP, SID, func(ctx context.Context, s *Session) error { return s.SetSIDPIN(ctx, pin("new")) }, "F0 F1",
			"F8 A80000000B00000001 A80000000600000007 F0 F0 F1 F0 F0 F2 A3 50494E A3 6E6577 F3 F1 F1 F1" + end},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &tper{t: t, answer: answerAlways(c.answer + ok)}
			s := opened(t, p, discovered(t, c.features...), c.sp, c.as)
			if err := c.do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			want(t, "sent", p.log[0], c.sent)
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every status is told as what it is, and only some of them as a refusal.
func TestStatuses(t *testing.T) {
	refusals := []Status{NotAuthorized, SPBusy, SPDisabled, SPFrozen, NoSessionsAvailable, InvalidParameter, AuthorityLockedOut}
	d := discovered(t, featTPer, featLocking, featOpal2)
	for n := 1; n <= 0xff; n++ {
		status := "F9 F0 " + fmt.Sprintf("%02X", n) + " 00 00 F1"
		if n >= 0x40 {
			status = "F9 F0 81" + fmt.Sprintf("%02X", n) + " 00 00 F1"
		}
		p := &tper{answer: answerAlways("F0 F1" + status)}
		s := opened(t, p, d, AdminSP, SID)
		err := s.Revert(t.Context(), AdminSP)
		var e *StatusError
		if !errors.As(err, &e) || e.Status != Status(n) || e.Refused() != slices.Contains(refusals, Status(n)) || !IsStatus(err, Status(n)) {
			t.Fatalf("status %02x: %v", n, err)
		}
		if err := s.Close(t.Context()); err != nil || p.last() != "FA" {
			t.Fatalf("status %02x: the session was not ended: %v, %s", n, err, p.last())
		}
		for _, form := range []string{"F8" + smuid + "A8 000000000000FF03 F0 F1", "F0 F1"} {
			p = &tper{t: t, control: map[string]string{"FF02": form + status}}
			if _, err := OpenSession(t.Context(), p, d, AdminSP, SID, pin("PIN4")); !IsStatus(err, Status(n)) {
				t.Fatalf("StartSession, status %02x: %v", n, err)
			}
		}
	}
}

// A session that could not be authenticated is ended: one that is left open keeps everybody out.
func TestEnterpriseSessionIsEndedWhenItsPINIsWrong(t *testing.T) {
	for _, result := range []string{"F0 00 F1 F9 F0 00 00 00 F1", "F0 F1 F9 F0 01 00 00 F1"} {
		p := &tper{t: t, answer: answerAlways(result)}
		_, err := OpenSession(t.Context(), p, discovered(t, featTPer, featLocking, featEnterprise), EnterpriseLockingSP, EraseMaster, pin("wrong"))
		if !IsStatus(err, NotAuthorized) || p.last() != "FA" || strings.Contains(p.log[1], "77726F6E67") {
			t.Error(err, p.log)
		}
		if strings.Contains(fmt.Sprint(err), "wrong") {
			t.Error("the PIN is in the error:", err)
		}
	}
}

// Answers that are none, or another's, end the session, and are neither success nor a refusal.
func TestAnswersThatAreNone(t *testing.T) {
	own := func(p *tper, payload string) []byte { return packet(testComi, testTSN, p.hsn, x(payload)) }
	for name, c := range map[string]struct {
		answer func(p *tper) []byte
		is     error
	}{
		"all zero":                  {func(*tper) []byte { return make([]byte, 512) }, ErrNoAnswer},
		"nothing to come":           {func(*tper) []byte { return x("00000000 07FE0000 00000000 00000000 00000000") }, ErrNoAnswer},
		"another ComID":             {func(p *tper) []byte { return packet(0x1000, testTSN, p.hsn, x("F0 F1"+ok)) }, nil},
		"another ComID, not yet":    {func(p *tper) []byte { return x("00000000 10000000 00000001 00000000 00000000") }, nil},
		"another session":           {func(p *tper) []byte { return packet(testComi, testTSN+1, p.hsn, x("F0 F1"+ok)) }, errOtherSession},
		"another host":              {func(p *tper) []byte { return packet(testComi, testTSN, p.hsn+2, x("F0 F1"+ok)) }, errOtherSession},
		"the session manager":       {func(p *tper) []byte { return packet(testComi, 0, 0, x("F0 F1"+ok)) }, errOtherSession},
		"an end of session":         {func(p *tper) []byte { return own(p, "FA") }, ErrSessionAborted},
		"closed by the TPer":        {func(p *tper) []byte { return packet(testComi, 0, 0, closeSession(p.hsn, testTSN)) }, ErrSessionAborted},
		"a call":                    {func(p *tper) []byte { return own(p, "F8"+smuid+"A8 000000000000FF03 F0 F1"+ok) }, nil},
		"no status":                 {func(p *tper) []byte { return own(p, "F0 F1") }, nil},
		"an empty status list":      {func(p *tper) []byte { return own(p, "F0 F1 F9 F0 F1") }, nil},
		"a status of two":           {func(p *tper) []byte { return own(p, "F0 F1 F9 F0 00 00 F1") }, nil},
		"a status that is a string": {func(p *tper) []byte { return own(p, "F0 F1 F9 F0 A0 00 00 F1") }, nil},
		"results where none belong": {func(p *tper) []byte { return own(p, "F0 01 F1"+ok) }, nil},
		"part of an answer":         {func(p *tper) []byte { b := own(p, "F0 F1"+ok); b[11] = 9; return b }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := &tper{}
			s := opened(t, p, discovered(t, featTPer, featLocking, featOpal2), AdminSP, SID)
			p.answers, p.receives = [][]byte{c.answer(p)}, 0
			err := s.Revert(t.Context(), AdminSP)
			var status *StatusError
			if err == nil || errors.As(err, &status) || c.is != nil && !errors.Is(err, c.is) || p.receives != 1 {
				t.Fatal(err, p.receives)
			}
			if name == "results where none belong" {
				return // the TPer and this host still understand each other
			}
			if err := s.Activate(t.Context()); !errors.Is(err, ErrSessionAborted) || p.receives != 1 {
				t.Error("the session goes on after that:", err)
			}
		})
	}
}

// The two numbers of a CloseSession, and who tells them.
func closeSession(a, b uint32) []byte {
	return x(fmt.Sprintf("F8"+smuid+"A8 000000000000FF06 F0 84%08X 84%08X F1"+ok, a, b))
}

// What a session of the past left behind does not stand for an answer, nor forever before it.
func TestStaleCloseSession(t *testing.T) {
	p := &tper{}
	s := opened(t, p, discovered(t, featTPer, featLocking, featOpal2), AdminSP, SID)
	stale := packet(testComi, 0, 0, closeSession(7, 9))
	p.answers = [][]byte{stale, stale, packet(testComi, testTSN, p.hsn, x("F0 F1"+ok))}
	if err := s.Activate(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.answers, p.sticky = [][]byte{stale}, true
	if err := s.Activate(t.Context()); err == nil {
		t.Error("stale answers without end were taken")
	}
}

// A TPer at work is waited for, as long as the context lets it, and asked for as much as it wants to say.
func TestWaitsForTheAnswer(t *testing.T) {
	notYet := x("00000000 07FE0000 00000001 00000000 00000000")
	synctest.Test(t, func(t *testing.T) {
		p := &tper{}
		s := opened(t, p, discovered(t, featTPer, featLocking, featOpal2), AdminSP, SID)
		for range 40 {
			p.answers = append(p.answers, notYet)
		}
		p.answers = append(p.answers, x("00000000 07FE0000 00001388 00001388 00000000"), packet(testComi, testTSN, p.hsn, x("F0 F1"+ok)))
		p.receives, p.sizes = 0, nil
		if err := s.Activate(t.Context()); err != nil || p.receives != 42 || p.sizes[40] != 2048 || p.sizes[41] != 5120 {
			t.Error(err, p.receives, p.sizes)
		}

		p.answers, p.sticky = [][]byte{notYet}, true
		gone := errors.New("the operator went home")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, gone)
		defer cancel()
		if err := s.Revert(ctx, AdminSP); !errors.Is(err, gone) {
			t.Error(err)
		}
		p.answers = [][]byte{x("00000000 07FE0000 00020000 00020000 00000000")}
		s.aborted = false
		if err := s.Revert(t.Context(), AdminSP); err == nil {
			t.Error("an answer of 128 KiB is waited for")
		}
	})
}

// What speaks against a session is said before a PIN is sent.
func TestSessionsThatCannotBe(t *testing.T) {
	locking := []string{featTPer, featLocking, featOpal2}
	for name, c := range map[string]struct {
		features []string
		as       Authority
		pin      Secret
		control  map[string]string
	}{
		"no ComID":           {[]string{featTPer, featLocking}, Anybody, Secret{}, nil},
		"no TPer feature":    {[]string{featLocking, featOpal2}, Anybody, Secret{}, nil},
		"asynchronous":       {[]string{"0001 10 0C 02 0000000000000000000000", featOpal2}, Anybody, Secret{}, nil},
		"buffer management":  {[]string{"0001 10 0C 09 0000000000000000000000", featOpal2}, Anybody, Secret{}, nil},
		"no PIN":             {locking, SID, Secret{}, nil},
		"a PIN of Anybody":   {locking, Anybody, pin("x"), nil},
		"properties of none": {locking, Anybody, Secret{}, map[string]string{"FF01": "F8" + smuid + "A8 000000000000FF01 F0 F1" + ok}},
		"small packets":      {locking, Anybody, Secret{}, map[string]string{"FF01": "F8" + smuid + "A8 000000000000FF01 F0 F0 F2 D010 4D6178436F6D5061636B657453697A65 82 01FF F3 F1 F1" + ok}},
		"another's session":  {locking, Anybody, Secret{}, map[string]string{"FF02": "F8" + smuid + "A8 000000000000FF03 F0 07 82 1001 F1" + ok}},
		"no parameters":      {locking, Anybody, Secret{}, map[string]string{"FF02": "F8" + smuid + "A8 000000000000FF03 F0 F1" + ok}},
		"another method":     {locking, Anybody, Secret{}, map[string]string{"FF02": "F8" + smuid + "A8 000000000000FF05 F0 07 82 1001 F1" + ok}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &tper{t: t, control: c.control}
			if s, err := OpenSession(t.Context(), p, discovered(t, c.features...), AdminSP, c.as, c.pin); err == nil || s != nil {
				t.Error(s, err)
			}
		})
	}
}

// A stack reset ends what a host left open; its answer is for this ComID and request, or none.
func TestResetStack(t *testing.T) {
	d := discovered(t, featTPer, featOpal2)
	good, pending := x("07FE0000 00000002 0000 0004 00000000"), x("07FE0000 00000002 0000 0000 00000000")
	p := &tper{t: t, answers: [][]byte{pending, good}}
	if err := ResetStack(t.Context(), p, d); err != nil {
		t.Fatal(err)
	}
	want(t, "sent", strings.ReplaceAll(p.log[0], " ", ""), "02 07FE 07FE0000 00000002 0000 0000 00000000")
	for _, answer := range []string{"07FE0000 00000002 0000 0004 00000001", "07FE0000 00000001 0000 0004 00000000", "10000000 00000002 0000 0004 00000000", "07FE0000 00000002 0000 0258 00000000", "00"} {
		if err := ResetStack(t.Context(), &tper{t: t, answers: [][]byte{x(answer)}}, d); err == nil {
			t.Error(answer, "was taken for success")
		}
	}
}

func TestBlockSID(t *testing.T) {
	p := &tper{t: t}
	for _, byReset := range []bool{false, true} {
		if err := BlockSID(t.Context(), p, byReset); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "sent", strings.ReplaceAll(strings.Join(p.log, ""), " ", ""), "020005 00000000000000000000000000000000 020005 01000000000000000000000000000000")
}

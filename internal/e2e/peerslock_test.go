package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// What other tools lock, freeze and reserve is seen for what it is, and by them as it is by the program.
func TestPeersLock(t *testing.T) {
	tools := peerTools(t, append(peers, "sg_persist")...)
	b := newBench(t)
	wrong := []string{"hdparm", "--user-master", "u", "--security-unlock", "wrong"}
	cases := []struct {
		name  string
		spec  virtual.Spec
		order [][]string
		tool  []string // what tells of it
		says  string
		state devices.State
		code  string // of the reason or the lack; "" for none
	}{
		{"sanitize freeze lock", virtual.Spec{Profile: "sata-ssd"}, [][]string{{"hdparm", sure, "--sanitize-freeze-lock"}}, []string{"hdparm", "--sanitize-status"}, "SD1 Sanitize Frozen",
			devices.StateReady, devices.ReasonSanitizeFrozen},
		{"sanitize freeze lock refuses", virtual.Spec{Profile: "sata-ssd"}, [][]string{{"hdparm", sure, "--sanitize-freeze-lock"}}, []string{"hdparm", sure, "--sanitize-block-erase"}, "Device in FROZEN state",
			devices.StateReady, devices.ReasonSanitizeFrozen},
		{"sanitize antifreeze lock", virtual.Spec{Profile: "sata-ssd"}, [][]string{{"hdparm", sure, "--sanitize-antifreeze-lock"}}, []string{"hdparm", sure, "--sanitize-freeze-lock"}, "Antifreeze lock enabled",
			devices.StateReady, ""},
		{"security freeze lock", virtual.Spec{Profile: "sata-hdd"}, [][]string{{"hdparm", "--security-freeze"}}, []string{"hdparm", "-I"}, `^\t\tfrozen$`, devices.StateReady, devices.ReasonFrozen},
		{"overlay freeze lock", virtual.Spec{Profile: "sata-hdd"}, [][]string{{"hdparm", sure, "--dco-freeze"}}, []string{"hdparm", "--dco-identify"}, "Input/output error", devices.StateReady, devices.ReasonHiddenFrozen},
		{"maximum password", virtual.Spec{Profile: "sata-hdd"}, [][]string{{"hdparm", "--user-master", "u", "--security-mode", "m", "--security-set-pass", "pw"}}, []string{"hdparm", "-I"}, `Security level maximum`,
			devices.StateReady, devices.ReasonEnabled},
		{"wrong passwords", virtual.Spec{Profile: "sata-hdd"}, [][]string{{"hdparm", "--user-master", "u", "--security-set-pass", "pw"}, wrong, wrong, wrong, wrong, wrong}, []string{"hdparm", "-I"}, `^\t\texpired: security count`,
			devices.StateBlocked, devices.ReasonCountExpired},
		{"reservation", virtual.Spec{Profile: "sas-hdd", ReservedBy: "abcdef0123"}, nil, []string{"sg_persist", "-k"}, `(?s)1 registered reservation key follows.*0xabcdef0123`, devices.StateBlocked, devices.ReasonReserved},
		{"write protection", virtual.Spec{Profile: "sas-ssd", ReadOnly: true}, nil, []string{"sg_modes", "-p", "8"}, `WP=1`, devices.StateBlocked, "read_only"},
		{"write protection refuses", virtual.Spec{Profile: "sas-ssd", ReadOnly: true}, nil, []string{"sg_sanitize", "--block", "--quick", "--early"}, `Data protect`, devices.StateBlocked, "read_only"},
	}
	for i, x := range cases {
		x.spec.Serial = serialOf(i)
		b.add(x.spec)
	}
	g := b.bootWith(tools)
	seens := make([]seen, len(cases))
	for i, x := range cases {
		seens[i] = b.see(g, uint16(i), serialOf(i))
		for _, args := range x.order {
			if _, code := g.Run(append(slices.Clone(args), seens[i].sg)...); (code == 0) != (args[len(args)-1] != "wrong") {
				t.Errorf("%q: exit %d", args, code)
			}
		}
	}
	listed := g.list()
	for i, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			s := seens[i]
			s.Guest = g.in(t)
			d := listed[s.sd]
			s.same(fmt.Sprint(x.tool), says(s.text(x.tool...), x.says), true)
			_, lacks := d.Lack(x.code)
			if d.State != x.state || (hasReason(d, x.code) || lacks) != (x.code != "") || x.code == "" && len(d.Lacks)+len(d.Reasons) != 0 {
				t.Errorf("%s, %+v %+v", d.State, d.Reasons, d.Lacks)
			}
			if d.Security != nil && d.Security.MasterMaximum != (x.name == "maximum password") {
				t.Errorf("%+v", d.Security)
			}
			if n := b.begun(s.serial); len(n) != 0 {
				t.Errorf("begun %q", n)
			}
		})
	}
}

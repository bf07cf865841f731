package devices

import (
	"slices"
	"testing"
)

// One drive behind two bridges, or behind a bridge and directly: commands go where the least is
// between, and what speaks against either node speaks against the drive.
func TestMergePaths(t *testing.T) {
	base := Drive{Protocol: ProtocolATA, Geometry: Geometry{SizeBytes: 1 << 30, LogicalBlock: 512}, State: StateReady}
	base.vouch("Disk", "S1", "5000c500a1b2c3d4", "1")
	at := func(node string, change func(*Drive)) Drive {
		d := base
		d.Nodes, d.Number = []string{node}, Number{8, uint32(node[len(node)-1])}
		if change != nil {
			change(&d)
		}
		return d
	}
	docked := func(d *Drive) { d.Bridge = "usb"; d.lack("bridge", "a bridge", "") }
	for _, x := range []struct {
		name   string
		drives []Drive
		nodes  [][]string
		state  State // of the first
		code   string
	}{
		{"two bridges", []Drive{at("/dev/sda", docked), at("/dev/sdb", docked)}, [][]string{{"/dev/sda", "/dev/sdb"}}, StateReady, ""},
		{"a bridge and none", []Drive{at("/dev/sda", docked), at("/dev/sdb", nil)}, [][]string{{"/dev/sdb", "/dev/sda"}}, StateReady, ""},
		{"three paths, the last without a bridge", []Drive{at("/dev/sda", docked), at("/dev/sdb", docked), at("/dev/sdc", nil)}, [][]string{{"/dev/sdc", "/dev/sda", "/dev/sdb"}}, StateReady, ""},
		{"one in use", []Drive{at("/dev/sda", func(d *Drive) { d.refuse(StateBlocked, Reason{Code: "fabric"}) }), at("/dev/sdb", func(d *Drive) { d.refuse(StateInUse, Reason{Code: "mounted"}) })},
			[][]string{{"/dev/sda", "/dev/sdb"}}, StateInUse, "mounted"},
		{"one that could not be determined", []Drive{at("/dev/sda", nil), at("/dev/sdb", func(d *Drive) { d.refuse(StateBlocked, Reason{Code: "undetermined"}) })},
			[][]string{{"/dev/sda", "/dev/sdb"}}, StateBlocked, "undetermined"},
		{"other sizes", []Drive{at("/dev/sda", nil), at("/dev/sdb", func(d *Drive) { d.SizeBytes-- })}, [][]string{{"/dev/sda", "/dev/sdb"}}, StateBlocked, "paths_differ"},
		{"other command sets", []Drive{at("/dev/sda", nil), at("/dev/sdb", func(d *Drive) { d.Protocol = ProtocolSCSI })}, [][]string{{"/dev/sda", "/dev/sdb"}}, StateBlocked, "paths_differ"},
		{"the host's word alone", []Drive{at("/dev/sda", func(d *Drive) { d.Identity = IdentityHost }), at("/dev/sdb", func(d *Drive) { d.Identity = IdentityHost })},
			[][]string{{"/dev/sda"}, {"/dev/sdb"}}, StateReady, ""},
		{"no world wide name", []Drive{at("/dev/sda", func(d *Drive) { d.vouch("Disk", "S1", "", "1") }), at("/dev/sdb", func(d *Drive) { d.vouch("Disk", "S1", "", "1") })},
			[][]string{{"/dev/sda"}, {"/dev/sdb"}}, StateReady, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := mergePaths(x.drives)
			if len(got) != len(x.nodes) {
				t.Fatalf("%d drives, want %d", len(got), len(x.nodes))
			}
			for i, nodes := range x.nodes {
				if !slices.Equal(got[i].Nodes, nodes) {
					t.Errorf("%q, want %q", got[i].Nodes, nodes)
				}
			}
			d := got[0]
			if d.State != x.state || x.code != "" && !slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.Code == x.code }) {
				t.Errorf("%s %+v", d.State, d.Reasons)
			}
			if x.code == "paths_differ" || len(x.nodes) > 1 {
				return
			}
			if d.Nodes[0] != d.nodes()[0].Node || d.Number != d.nodes()[0].Number || len(d.Paths) != len(d.Nodes)-1 || len(d.pathNodes()) != len(d.Paths) {
				t.Errorf("%+v, first %+v", d.Paths, d.nodes())
			}
			for i, p := range d.Paths {
				if p.Node != d.Nodes[i+1] || p.Of != d.Nodes[0] || p.Number.Minor != uint32(p.Node[len(p.Node)-1]) {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

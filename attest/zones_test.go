package attest

import "testing"

// Zones must add up to the namespace that they are of.
func TestZonesOfANamespace(t *testing.T) {
	for name, x := range map[string]struct {
		n    Namespace
		want bool
	}{
		"none":                     {Namespace{NSID: 1, SizeBytes: 100}, true},
		"whole":                    {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{10, 10, 10}}, true},
		"with gaps":                {Namespace{NSID: 1, SizeBytes: 80, Zones: &Zones{10, 10, 8}}, true},
		"gaps counted":             {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{10, 10, 8}}, false},
		"larger than the distance": {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{10, 8, 10}}, false},
		"of nothing":               {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{10, 10, 0}}, false},
		"no zones":                 {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{0, 10, 10}}, false},
		"negative":                 {Namespace{NSID: 1, SizeBytes: 100, Zones: &Zones{-10, 10, -10}}, false},
		"no number":                {Namespace{SizeBytes: 100}, false},
		"no size":                  {Namespace{NSID: 1}, false},
	} {
		if x.n.possible() != x.want {
			t.Errorf("%s: %v", name, !x.want)
		}
		if x.n.NSID > 0 && x.n.SizeBytes > 0 && x.n.Zones.possible(x.n.SizeBytes) != x.want {
			t.Errorf("%s of a disk: %v", name, !x.want)
		}
	}
}

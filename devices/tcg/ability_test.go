package tcg

import "testing"

// What a drive can do by its facts, and under whose authority. Each trap of the standard has a line.
func TestAbilities(t *testing.T) {
	const (
		active   = "0002 10 0C 0B 0000000000000000000000"
		inactive = "0002 10 0C 09 0000000000000000000000"
		plain    = "0002 10 0C 03 0000000000000000000000"
		noLock   = "0002 10 0C 08 0000000000000000000000"
		msid     = "0402 10 0C 00 00 00000000000000000000"
		owned    = "0402 10 0C 01 00 00000000000000000000"
		blocked  = "0402 10 0C 02 00 00000000000000000000"
		frozen   = "0402 10 0C 0C 00 00000000000000000000"
		running  = "0404 20 20 00 01 07 05 0003 0000 0001 00000000 0000 00000000000000000000000000000000"
		broken   = "0404 20 20 00 02 07 05 0003 0000 0001 00000000 0000 00000000000000000000000000000000"
		single   = "0201 10 0C 00000009 01 00000000000000"
		spaces   = "0403 10 04 00000000"
		vendorID = "0203 12 10 07FE 0001 00 0004 0009 FF 00 0000000000"
		noComID  = "0203 12 10 0000 0001 00 0004 0009 00 00 0000000000"
		ruby     = "0304 10 10 07FE 0001 00 0004 0009 00 00 0000000000"
		opal1    = "0200 10 10 07FE 0001 00 0000000000000000000000"
		unknown  = "0310 10 10 07FE 0001 00 0000000000000000000000"
	)
	ways := []Way{WayPSIDRevert, WaySIDRevert, WayRevertSP, WayGenKey, WayEnterpriseErase}
	for name, c := range map[string]struct {
		features []string
		want     [5]string // of each way: "" and its PIN when it is open, or the code of why not
	}{
		"active, owner unknown": {[]string{active, featOpal2}, [5]string{"+label", "+msid_or_owner", "+owner", "+owner", WhyOtherSSC}},
		"active, as made":       {[]string{active, featOpal2, msid}, [5]string{"+label", "+msid", "+owner", "+owner", WhyOtherSSC}},
		"active, owned":         {[]string{active, featOpal2, owned}, [5]string{"+label", "+owner", "+owner", "+owner", WhyOtherSSC}},
		"active, vendor's PIN":  {[]string{active, vendorID, msid}, [5]string{"+label", "+msid_or_owner", "+owner", "+owner", WhyOtherSSC}},
		"inactive: a revert leaves all data": {[]string{inactive, featOpal2, msid},
			[5]string{WhySPInactive, "activate+msid", "activate+msid", "activate+msid", WhyOtherSSC}},
		"inactive and owned":           {[]string{inactive, featOpal2, owned}, [5]string{WhySPInactive, "activate+owner", "activate+owner", "activate+owner", WhyOtherSSC}},
		"SID blocked":                  {[]string{active, featOpal2, blocked}, [5]string{WhySIDBlocked, WhySIDBlocked, "+owner", "+owner", WhyOtherSSC}},
		"SID blocked, inactive":        {[]string{inactive, featOpal2, blocked}, [5]string{WhySIDBlocked, WhySIDBlocked, WhySIDBlocked, WhySIDBlocked, WhyOtherSSC}},
		"frozen":                       {[]string{active, featOpal2, frozen}, [5]string{"+label", "+msid", WhyFrozen, WhyFrozen, WhyOtherSSC}},
		"frozen, inactive":             {[]string{inactive, featOpal2, frozen}, [5]string{WhySPInactive, WhyFrozen, WhyFrozen, WhyFrozen, WhyOtherSSC}},
		"not encrypted":                {[]string{plain, featOpal2}, [5]string{WhyNoEncryption, WhyNoEncryption, WhyNoEncryption, WhyNoEncryption, WhyOtherSSC}},
		"Pyrite":                       {[]string{plain, featPyrite2}, [5]string{WhyPyrite, WhyPyrite, WhyPyrite, WhyPyrite, WhyOtherSSC}},
		"Pyrite that says it encrypts": {[]string{active, featPyrite2}, [5]string{WhyPyrite, WhyPyrite, WhyPyrite, WhyPyrite, WhyOtherSSC}},
		"Pyrite and Opal":              {[]string{active, featPyrite2, featOpal2}, [5]string{WhyPyrite, WhyPyrite, WhyPyrite, WhyPyrite, WhyOtherSSC}},
		"no locking":                   {[]string{noLock, featOpal2}, [5]string{WhyNoLocking, WhyNoLocking, WhyNoLocking, WhyNoLocking, WhyOtherSSC}},
		"no Locking feature":           {[]string{featTPer, featOpal2}, [5]string{WhyNoLocking, WhyNoLocking, WhyNoLocking, WhyNoLocking, WhyOtherSSC}},
		"no ComID":                     {[]string{active, noComID}, [5]string{WhyNoComID, WhyNoComID, WhyNoComID, WhyNoComID, WhyOtherSSC}},
		"removing data":                {[]string{active, featOpal2, running}, [5]string{WhyRemovalRunning, WhyRemovalRunning, WhyRemovalRunning, WhyRemovalRunning, WhyOtherSSC}},
		"interrupted: may be repeated": {[]string{active, featOpal2, broken}, [5]string{"+label", "+msid_or_owner", "+owner", WhyInterrupted, WhyOtherSSC}},
		"single user":                  {[]string{active, featOpal2, single}, [5]string{"+label", "+msid_or_owner", "+owner", WhySingleUser, WhyOtherSSC}},
		"keys of namespaces":           {[]string{active, featOpal2, spaces}, [5]string{"+label", "+msid_or_owner", "+owner", WhyNamespaceLocking, WhyOtherSSC}},
		"Ruby":                         {[]string{active, ruby}, [5]string{"+label", "+msid_or_owner", "+owner", "+owner", WhyOtherSSC}},
		"Opal 1":                       {[]string{active, opal1}, [5]string{"+label", "+msid_or_owner", "+owner", "+owner", WhyOtherSSC}},
		"Enterprise":                   {[]string{active, featEnterprise}, [5]string{WhyOtherSSC, WhyOtherSSC, WhyOtherSSC, WhyOtherSSC, "+msid_or_owner"}},
		"Enterprise, not encrypted":    {[]string{plain, featEnterprise}, [5]string{WhyNoEncryption, WhyNoEncryption, WhyNoEncryption, WhyNoEncryption, WhyNoEncryption}},
		"Enterprise, removing data":    {[]string{active, featEnterprise, running}, [5]string{WhyRemovalRunning, WhyRemovalRunning, WhyRemovalRunning, WhyRemovalRunning, WhyRemovalRunning}},
		"a class of the future":        {[]string{active, unknown}, [5]string{WhyOtherSSC, WhyOtherSSC, WhyOtherSSC, WhyOtherSSC, WhyOtherSSC}},
	} {
		list := Abilities(discovered(t, c.features...).Facts())
		for i, a := range list {
			got := a.Code
			if a.Able {
				got = "+" + string(a.PIN)
				if a.Activate {
					got = "activate" + got
				}
			}
			if a.Way != ways[i] || got != c.want[i] || a.Able == (a.Why != "") {
				t.Errorf("%s: %s: %q, want %q (%+v)", name, ways[i], got, c.want[i], a)
			}
		}
	}
	for _, a := range Abilities(Facts{}) {
		if a.Able {
			t.Errorf("a drive of which nothing is known: %+v", a)
		}
	}
	if _, is := Best(Abilities(Facts{})); is {
		t.Error("a best way of none")
	}
	if a, is := Best(Abilities(discovered(t, inactive, featOpal2, msid).Facts())); !is || a.Way != WaySIDRevert || a.Authority != SID {
		t.Errorf("%+v", a)
	}
}

func TestAfterRevert(t *testing.T) {
	for name, c := range map[string]struct {
		features []string
		want     Reverted
	}{
		"done":                        {[]string{"0002 10 0C 09 0000000000000000000000", featOpal2, featRemoval}, RevertDone},
		"done, without that feature":  {[]string{"0002 10 0C 09 0000000000000000000000", featOpal2}, RevertDone},
		"still active":                {[]string{featLocking, featOpal2, featRemoval}, RevertNot},
		"locked":                      {[]string{"0002 10 0C 0D 0000000000000000000000", featOpal2}, RevertNot},
		"running":                     {[]string{"0002 10 0C 09 0000000000000000000000", featOpal2, "0404 20 20 00 03 07 05 0003 0000 0001 00000000 0000 00000000000000000000000000000000"}, RevertRunning},
		"interrupted":                 {[]string{"0002 10 0C 09 0000000000000000000000", featOpal2, "0404 20 20 00 02 07 05 0003 0000 0001 00000000 0000 00000000000000000000000000000000"}, RevertInterrupted},
		"no Locking feature any more": {[]string{featTPer, featOpal2}, RevertUnknown},
		"another class":               {[]string{"0002 10 0C 09 0000000000000000000000", featEnterprise}, RevertUnknown},
	} {
		if got := AfterRevert(discovered(t, c.features...).Facts()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if AfterRevert(Facts{}) != RevertUnknown {
		t.Error("nothing known, and judged")
	}
}

func TestFlawed(t *testing.T) {
	for _, c := range []struct {
		model, firmware string
		flawed          bool
	}{
		{"Crucial_CT256MX100SSD1", "MU02", true}, {"Crucial_CT256MX100SSD1", "MU03", false}, {"Crucial_CT500MX200SSD1", "MU04", true}, {"Crucial_CT500MX200SSD1", "MU05 ", false},
		{"Crucial_CT500MX200SSD1", "", true}, {"Crucial_CT500MX200SSD1", "NU09", true}, {"Crucial_CT500MX200SSD1", "MUXX", true}, {"Crucial_CT525MX300SSD1", "M0CR060", true},
		{"Samsung SSD 840 EVO 250GB", "EXT0DB6Q", true}, {"Samsung SSD 850 EVO 500GB", "EMT02B6Q", true}, {"Samsung Portable SSD T5", "0", true}, {"Portable SSD T3", "0", true},
		{"Samsung SSD 850 PRO 256GB", "EXM02B6Q", false}, {"Samsung SSD 860 EVO 1TB", "RVT01B6Q", false}, {"CT500MX500SSD1", "M3CR020", false}, {"", "", false},
	} {
		f, is := Flawed(c.model, c.firmware)
		if is != c.flawed || is && (f.Source == "" || f.What == "") {
			t.Errorf("%s %s: %v %+v", c.model, c.firmware, is, f)
		}
	}
}

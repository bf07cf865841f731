package sanitize

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// zonedDrive has four zones of 256 KiB, of which 160 KiB are blocks.
func zonedDrive() devices.Drive {
	d := nvmeDrive()
	d.Namespaces[0].Zoned, d.Namespaces[0].Zones = true, devices.Zones{Count: 4, SizeBytes: 256 << 10, CapacityBytes: 160 << 10}
	return d
}

const zonedSize = 4 * 160 << 10

func TestPlanOfAZonedDrive(t *testing.T) {
	dp, err := chooseFor(zonedDrive(), Request{Method: Purge})
	if err != nil || dp.SizeBytes != zonedSize || dp.nodeBytes() != 1<<20 || dp.Namespaces[0].SizeBytes != zonedSize {
		t.Fatalf("%+v %v", dp, err)
	}
	for _, o := range dp.Operations {
		if o.Code&cdw10NDAS == 0 {
			t.Errorf("%s leaves zones empty", o.Command)
		}
	}
	unable := zonedDrive()
	unable.Sanitize.NoDeallocate = false
	if dp, err := chooseFor(unable, Request{Method: Purge, Technique: BlockErase, Verify: VerifyStatus}); err != nil || dp.Operations[0].Code&cdw10NDAS != 0 {
		t.Errorf("%+v %v", dp.Operations, err)
	}
	for _, technique := range []Technique{BlockErase, CryptographicErase, Format, CryptographicFormat} {
		unable.FormatNVM = &devices.FormatNVM{Crypto: true}
		if dp, err := chooseFor(unable, Request{Method: Clear, Technique: technique}); err == nil {
			t.Errorf("zones left empty would be read back: %+v", dp.Operations)
		}
	}
	if dp, err := chooseFor(nvmeDrive(), Request{Method: Purge, Technique: BlockErase}); err != nil || dp.Operations[0].Code&cdw10NDAS != 0 {
		t.Errorf("a drive without zones: %+v %v", dp.Operations, err)
	}
	var refusal *Refusal
	untold := zonedDrive()
	untold.Namespaces[0].Zones = devices.Zones{}
	if _, err := chooseFor(untold, Request{}); !errors.As(err, &refusal) || refusal.Reasons[0].Code != devices.ReasonZonesUnknown {
		t.Errorf("zones that are not told: %v", err)
	}
	// While it erases itself the drive does not tell them, and is the planned one all the same.
	if err := errors.Join(dp.Continues(untold, false), dp.Continues(zonedDrive(), false)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(n *devices.Namespace){
		"another capacity": func(n *devices.Namespace) { n.Zones.CapacityBytes = 192 << 10 }, "another size": func(n *devices.Namespace) {
			n.Zones = devices.Zones{Count: 8, SizeBytes: 128 << 10, CapacityBytes: 80 << 10}
		},
		"not zoned": func(n *devices.Namespace) { n.Zoned, n.Zones = false, devices.Zones{} }, "another size, not told": func(n *devices.Namespace) { n.Zones, n.SizeBytes = devices.Zones{}, 2<<20 },
	} {
		d := zonedDrive()
		change(&d.Namespaces[0])
		if err := dp.Continues(d, false); !errors.Is(err, ErrPlanChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// zonedStory is the journal of an overwrite that was cut off when half of it was done, and of which so
// much is taken back.
func zonedStory(t *testing.T, back ...overwrite.Extent) []entry {
	t.Helper()
	dp, err := chooseFor(zonedDrive(), Request{Technique: HostOverwrite, Pattern: "zero", Verify: VerifyStatus})
	if err != nil {
		t.Fatal(err)
	}
	return []entry{
		{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: dp}},
		{kindIntent, intentRecord{0, strings.Repeat("1", 64)}},
		{kindAttempt, attemptRecord{1, "v"}},
		{kindPassBegun, passBegunRecord{Pass: 1, Pattern: "hex:00"}},
		{kindZonesReset, zonesResetRecord{1, []overwrite.Extent{{Offset: 0, Length: zonedSize}}}},
		{kindExtents, extentsRecord{Pass: 1, Done: []overwrite.Extent{{Offset: 0, Length: 200 << 10}}, Failed: []overwrite.Extent{{Offset: 480 << 10, Length: 512}}, Error: "x"}},
		{kindZonesReset, zonesResetRecord{1, back}},
	}
}

// What a reset takes back is neither done nor failed until it is written again.
func TestZonesTakenBack(t *testing.T) {
	zone := func(n, count int64) overwrite.Extent {
		return overwrite.Extent{Offset: n * 160 << 10, Length: count * 160 << 10}
	}
	done := []entry{{kindZonesTold, zonesToldRecord{Pass: 1, Begin: true, End: true}}, {kindPassDone, passDoneRecord{1}}, {kindFinished, finishedRecord{Status: statusCompleted}}}
	rest := func(e ...overwrite.Extent) entry { return entry{kindExtents, extentsRecord{Pass: 1, Done: e}} }
	for _, x := range []struct {
		name  string
		back  []overwrite.Extent
		after []entry
		want  Outcome // "error" is a journal of which nothing is concluded
	}{
		{"all written again", []overwrite.Extent{zone(1, 3)}, append([]entry{rest(zone(1, 3))}, done...), Sanitized},
		{"the failed block taken back, too, and not written", []overwrite.Extent{zone(1, 3)}, append([]entry{rest(zone(1, 2))}, done...), "error"},
		{"what was done before does not count", []overwrite.Extent{zone(1, 3)}, append([]entry{rest(overwrite.Extent{Offset: 200 << 10, Length: zonedSize - 200<<10})}, done...), "error"},
		{"one zone left as it was", []overwrite.Extent{zone(1, 2)}, append([]entry{rest(overwrite.Extent{Offset: 160 << 10, Length: 320 << 10}, overwrite.Extent{Offset: 480<<10 + 512, Length: 160<<10 - 512})}, done...), Exceptions},
		{"half a zone", []overwrite.Extent{{Offset: 160 << 10, Length: 80 << 10}}, nil, "error"},
		{"not from its start", []overwrite.Extent{{Offset: 165 << 10, Length: 160 << 10}}, nil, "error"},
		{"after the pass", []overwrite.Extent{zone(1, 3)}, []entry{rest(zone(1, 3)), {kindPassDone, passDoneRecord{1}}, {kindZonesReset, zonesResetRecord{1, []overwrite.Extent{zone(0, 1)}}}}, "error"},
	} {
		e := fold(t, slices.Concat(zonedStory(t, x.back...), x.after))
		if bad := strings.HasPrefix(string(e.Outcome), "error"); bad != (x.want == "error") || !bad && e.Outcome != x.want {
			t.Errorf("%s: %s %s", x.name, e.Outcome, e.Reason)
		}
	}
	plain := story(t, Request{Pattern: "zero", Verify: VerifyFull})
	plain = slices.Insert(plain, 6, entry{kindZonesReset, zonesResetRecord{1, all}})
	if e := fold(t, plain); !strings.HasPrefix(string(e.Outcome), "error") {
		t.Errorf("zones of a drive that has none: %s", e.Outcome)
	}
}

// Zones that cannot be are no plan.
func TestImpossibleZones(t *testing.T) {
	for _, z := range []devices.Zones{
		{Count: 4}, {Count: -4, SizeBytes: 256 << 10, CapacityBytes: 160 << 10}, {Count: 4, SizeBytes: 128 << 10, CapacityBytes: 160 << 10}, {Count: 8, SizeBytes: 256 << 10, CapacityBytes: 160 << 10},
		{Count: 4, SizeBytes: 256<<10 + 1, CapacityBytes: 160 << 10}, {Count: 4, SizeBytes: 1 << 62, CapacityBytes: 160 << 10}, {SizeBytes: 256 << 10, CapacityBytes: 160 << 10}, {Count: 1<<20 + 1, SizeBytes: 1, CapacityBytes: 1},
	} {
		entries := zonedStory(t)
		opened := entries[0].data.(openedRecord)
		opened.Drive.Namespaces = slices.Clone(opened.Drive.Namespaces)
		opened.Drive.Namespaces[0].Zones = z
		entries[0].data = opened
		if e := fold(t, entries); !strings.HasPrefix(string(e.Outcome), "error") {
			t.Errorf("%+v: %s", z, e.Outcome)
		}
	}
	got := numbers(devices.Zones{Count: 9, SizeBytes: 20, CapacityBytes: 10}, []overwrite.Extent{{Offset: 5, Length: 1}, {Offset: 19, Length: 2}, {Offset: 80, Length: 10}})
	if !slices.Equal(got, []int64{0, 1, 2, 8}) {
		t.Errorf("%v", got)
	}
}

package sanitize

import (
	"encoding/json"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// What an operator would lose: that a drive begins to fail, or a count of errors that were none.
func TestErrorsOfDrivesAreTold(t *testing.T) {
	two := []overwrite.Extent{{Offset: 0, Length: 512}, {Offset: 4096, Length: 1024}}
	for _, x := range []struct {
		name, kind string
		data       any
		op         string
		n          int
	}{
		{"written", kindExtents, extentsRecord{Pass: 1, Done: two}, "write", 0},
		{"not written", kindExtents, extentsRecord{Pass: 1, Failed: two, Error: "EIO"}, "write", 2},
		{"not read", kindVerified, verifiedRecord{Done: two, Failed: two[:1], Error: "EIO"}, "read", 1},
		{"read, and otherwise than it was written", kindVerified, verifiedRecord{Mismatch: two}, "read", 0},
		{"erased", kindSent, sentRecord{Operation: 1}, "", 0},
		{"not erased", kindSent, sentRecord{Operation: 1, Error: "aborted"}, "erase", 1},
		{"another record", kindStopped, stoppedRecord{Reason: "told to"}, "", 0},
		{"not one", kindExtents, "nonsense", "", 0},
	} {
		data, err := json.Marshal(x.data)
		if err != nil {
			t.Fatal(err)
		}
		if op, n := DeviceErrors(journal.Record{Kind: x.kind, Data: data}); op != x.op || n != x.n {
			t.Errorf("%s: %q %d, want %q %d", x.name, op, n, x.op, x.n)
		}
	}
}

func TestRecordsTellNodeAndHeat(t *testing.T) {
	warm, most, none := int64(41), int64(60), int64(0)
	of := func(kind string, data any) journal.Record {
		text, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return journal.Record{Kind: kind, Data: text}
	}
	if node := NodeOf(of(kindReidentified, reidentifiedRecord{Node: "/dev/sdb"})); node != "/dev/sdb" {
		t.Errorf("node %q", node)
	}
	if node := NodeOf(of(kindIdentified, reidentifiedRecord{Node: "/dev/sdb"})); node != "" {
		t.Errorf("node %q of another record", node)
	}
	if degrees, limit, is := HeatOf(of(kindHealth, healthRecord{Health: devices.Health{TemperatureC: &warm, WarningC: &most}})); !is || degrees == nil || *degrees != 41 || limit == nil || *limit != 60 {
		t.Errorf("%v %v %v", degrees, limit, is)
	}
	if degrees, limit, is := HeatOf(of(kindHealth, healthRecord{Health: devices.Health{WarningC: &none}})); !is || degrees != nil || limit != nil {
		t.Errorf("what a drive does not tell: %v %v %v", degrees, limit, is)
	}
	if _, _, is := HeatOf(of(kindPaced, pacedRecord{})); is {
		t.Error("another record tells heat")
	}
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// peers are the tools that look at SCSI and SATA drives beside ours.
var peers = []string{"hdparm", "smartctl", "sg_inq", "sg_vpd", "sg_sat_identify", "sg_requests", "sg_opcodes", "sg_readcap", "sg_luns", "sg_modes", "sg_sanitize", "sg_format"}

// leap is a clock that a test sets forward: what drives do by themselves is done then.
type leap struct{ by atomic.Int64 }

func (l *leap) Now() time.Time       { return time.Now().Add(time.Duration(l.by.Load())) }
func (l *leap) pass(d time.Duration) { l.by.Add(int64(d)) }

// Wait implements agent.Options.Wait: whoever waits has time pass.
func (l *leap) Wait(ctx context.Context, d time.Duration) error {
	l.pass(d)
	return context.Cause(ctx)
}

// leaping gives a bench such a clock.
func (b *bench) leaping() *leap {
	l := &leap{}
	b.rack.Clock = l.Now
	return l
}

// seen is a drive as a guest has it.
type seen struct {
	*Guest
	b      *bench
	serial string
	target uint16
	sd, sg string
}

// see finds the nodes of the first unit of a target.
func (b *bench) see(g *Guest, target uint16, serial string) seen {
	g.t.Helper()
	node := func(kind string) string {
		found := g.Must("ls", fmt.Sprintf("/sys/class/scsi_device/*:0:%d:0/device/%s/*", target, kind))
		if found == "" || strings.Contains(found, "\n") {
			g.t.Fatalf("target %d has the nodes %q of %s", target, found, kind)
		}
		return "/dev/" + path.Base(found)
	}
	return seen{g, b, serial, target, node("block"), node("scsi_generic")}
}

// transport is the way to the drive beside the guest.
func (s seen) transport() devices.Transport {
	s.b.target.mu.Lock()
	defer s.b.target.mu.Unlock()
	return s.b.target.units[[2]uint16{s.target, 0}]
}

// ask sends a drive a data-in command beside the guest.
func (s seen) ask(c *scsi.Command) []byte {
	s.t.Helper()
	for range 2 { // the first may bring a unit attention
		if r, err := s.transport().SCSI(s.t.Context(), c); err == nil && r.Err() == nil {
			return r.In(c)
		}
	}
	return nil
}

// list is what the program says of a guest's drives, by their first nodes.
func (g *Guest) list() map[string]devices.Drive {
	g.t.Helper()
	listed, code := document[struct {
		Items []devices.Drive `json:"items"`
	}](g, "list")
	if code != 0 {
		g.t.Fatalf("list: exit %d", code)
	}
	at := map[string]devices.Drive{}
	for _, d := range listed.Items {
		at[d.Nodes[0]] = d
	}
	return at
}

// drive is what the program says of it in the guest.
func (s seen) drive() devices.Drive {
	s.t.Helper()
	d, has := s.list()[s.sd]
	if !has {
		s.t.Fatalf("%s is not listed", s.sd)
	}
	return d
}

// rescan has the guest's kernel read the drive's size anew.
func (s seen) rescan() {
	s.t.Helper()
	s.Must("write", "/sys/block/"+path.Base(s.sd)+"/device/rescan", "1")
}

// text is what a tool says of the drive, with both of its outputs.
func (s seen) text(args ...string) string {
	s.t.Helper()
	a, err := s.do(s.t.Context(), request{Args: append(args, s.sg)})
	if err != nil || a.Code < 0 {
		s.t.Fatalf("%q: %v %s", args, err, a.Stderr)
	}
	return string(a.Stdout) + string(a.Stderr)
}

// find is what the first group of an expression matches; "" where it does not.
func find(text, expression string) string {
	if m := regexp.MustCompile("(?m)" + expression).FindStringSubmatch(text); m != nil {
		return strings.TrimSpace(m[1])
	}
	return ""
}

// says is "true" where a text has an expression.
func says(text, expression string) string {
	return strconv.FormatBool(regexp.MustCompile("(?m)" + expression).MatchString(text))
}

// same compares what a tool says with what is decoded here.
func (s seen) same(what string, theirs, ours any) {
	s.t.Helper()
	if a, b := fmt.Sprint(theirs), fmt.Sprint(ours); a != b {
		s.t.Errorf("%s: %s says %q, here it is %q", s.serial, what, a, b)
	}
}

// smart is what smartctl says in JSON.
type smart struct {
	Model       string  `json:"model_name"`
	SCSIModel   string  `json:"scsi_model_name"`
	Serial      string  `json:"serial_number"`
	Firmware    string  `json:"firmware_version"`
	Revision    string  `json:"scsi_revision"`
	LogicalUnit string  `json:"logical_unit_id"`
	Logical     int     `json:"logical_block_size"`
	Physical    int     `json:"physical_block_size"`
	Rotation    *uint16 `json:"rotation_rate"` // 0 does not rotate
	Capacity    struct {
		Blocks uint64 `json:"blocks"`
		Bytes  int64  `json:"bytes"`
	} `json:"user_capacity"`
	WWN struct {
		NAA, OUI, ID uint64
	} `json:"wwn"`
	Form struct {
		ATA  uint8 `json:"ata_value"`
		SCSI uint8 `json:"scsi_value"`
	} `json:"form_factor"`
	Trim struct {
		Supported, Deterministic, Zeroed bool
	} `json:"trim"`
	Hours struct {
		Hours int64 `json:"hours"`
	} `json:"power_on_time"`
	Temperature struct {
		Current int `json:"current"`
	} `json:"temperature"`
	GrownDefects *int64 `json:"scsi_grown_defect_list"`
	Support      struct {
		Available, Enabled bool
	} `json:"smart_support"`
	Status struct {
		Passed bool `json:"passed"`
	} `json:"smart_status"`
	Attributes struct {
		Table []struct {
			ID, Value, Worst uint8
			Flags            struct {
				Value uint16 `json:"value"`
			} `json:"flags"`
			Raw struct {
				Value uint64 `json:"value"`
			} `json:"raw"`
		} `json:"table"`
	} `json:"ata_smart_attributes"`
}

func (s seen) smart() (r smart) {
	s.t.Helper()
	out, _ := s.Run("smartctl", "-j", "-i", "-A", "-H", "-l", "error", s.sg)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Fatalf("smartctl: %v in %s", err, out)
	}
	return r
}

// bootWith starts a guest as boot does, with files of this machine in it.
func (b *bench) bootWith(files map[string]string) *Guest {
	b.t.Helper()
	return startUML(b.t, b.target, b.share, nil, maps.Clone(files))
}

package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// Health is what a drive says of its condition: NVMe log page 02h, ATA SMART READ DATA, or SCSI log pages. What it
// does not say is nil.
type Health struct {
	TemperatureC *int64 `json:"temperature_c,omitempty"`
	// WarningC and CriticalC are the drive's own limits: from the first it should be warmed no further, from the
	// second it may be damaged, or stop.
	WarningC     *int64 `json:"warning_temperature_c,omitempty"`
	CriticalC    *int64 `json:"critical_temperature_c,omitempty"`
	PowerOnHours *int64 `json:"power_on_hours,omitempty"`
	PowerCycles  *int64 `json:"power_cycles,omitempty"`
	StartStops   *int64 `json:"start_stop_cycles,omitempty"` // of a SCSI disk's spindle
	// DataWritten is what hosts wrote, in thousands of 512 bytes, rounded up.
	DataWritten   *int64 `json:"data_units_written,omitempty"`
	Critical      *int64 `json:"critical_warning,omitempty"` // NVMe: bits 0 spare, 1 temperature, 2 reliability, 3 read-only, 4 backup
	SparePercent  *int64 `json:"spare_percent,omitempty"`
	UsedPercent   *int64 `json:"used_percent,omitempty"`
	MediaErrors   *int64 `json:"media_errors,omitempty"`
	Reallocated   *int64 `json:"reallocated,omitempty"` // ATA attribute 5, SCSI grown defects
	Pending       *int64 `json:"pending,omitempty"`     // ATA attribute 197
	Uncorrectable *int64 `json:"uncorrectable,omitempty"`
	Page          []byte `json:"page,omitempty"` // as it came
}

// Health asks a drive that was listed for its condition, without claiming it: a drive in use answers too. The error is
// ErrNoDoor where it cannot be asked.
func (h *Host) Health(ctx context.Context, d Drive) (health Health, err error) {
	spaces, paths, err := h.openSpaces(ctx, d, ReadOnly, &watch{})
	defer func() { err = errors.Join(err, closeSpaces(spaces), closeSpaces(paths)) }()
	if err != nil {
		return Health{}, err
	}
	return readHealth(ctx, spaces[0].transport, d)
}

// readHealth asks by whatever door the drive has. The error is ErrNoDoor when it has none.
func readHealth(ctx context.Context, t Transport, d Drive) (Health, error) {
	switch d.Protocol {
	case ProtocolNVMe:
		return readSMART(ctx, t)
	case ProtocolATA:
		h, err := readATASMART(ctx, t)
		if err != nil {
			return h, err
		}
		return h, h.addStatistics(ctx, t, d.LogicalBlock)
	case ProtocolSCSI:
		h, err := readSCSIHealth(ctx, t)
		if err != nil {
			return h, err
		}
		return h, h.addCounters(ctx, t, d)
	}
	return Health{}, ErrNoDoor
}

// readSCSIHealth takes temperature and power-on time from the log pages, and grown defects from the
// drive's list. Only the temperature page is answered while a sanitize runs (SBC-4 4.11.2); a drive
// that answers nothing is an error.
func readSCSIHealth(ctx context.Context, t Transport) (Health, error) {
	page, err := dataIn(ctx, t, scsi.LogSense(scsi.LogTemperature))
	if err != nil {
		return Health{}, fmt.Errorf("read the temperature log: %w", err)
	}
	celsius, known, err := scsi.ParseTemperature(page)
	if err != nil {
		return Health{}, err
	}
	h := Health{Page: page}
	if known {
		h.TemperatureC = some(int64(celsius))
	}
	if limit, known, bad := scsi.ParseReferenceTemperature(page); bad == nil && known {
		h.WarningC = some(int64(limit))
	}
	if h.PowerOnHours, err = powerOnHours(ctx, t); err != nil {
		return Health{}, err
	}
	if page, err := dataIn(ctx, t, scsi.ReadDefectData12(false, true)); err == nil {
		if n, known := scsi.Defects(page); known {
			h.Reallocated = some(int64(n))
		}
	} else if IsGone(err) {
		return Health{}, err
	}
	return h, nil
}

// powerOnHours is what a SCSI drive's background scan log counts; nil where it does not tell.
func powerOnHours(ctx context.Context, t Transport) (*int64, error) {
	page, err := dataIn(ctx, t, scsi.LogSense(scsi.LogBackgroundScan))
	if IsGone(err) {
		return nil, err
	}
	if minutes, known, bad := scsi.ParsePowerOnMinutes(page); err == nil && bad == nil && known {
		return some(int64(minutes / 60)), nil
	}
	return nil, nil
}

func readSMART(ctx context.Context, t Transport) (Health, error) {
	page, err := admin(ctx, t, nvme.GetLogPage{LID: nvme.LogSMART, Retain: true}.Command())
	if err != nil {
		return Health{}, fmt.Errorf("read the SMART log: %w", err)
	}
	s, err := nvme.ParseSMART(page)
	if err != nil {
		return Health{}, err
	}
	h := Health{
		Critical: some(int64(s.CriticalWarning)), SparePercent: some(int64(s.AvailableSpare)), UsedPercent: some(int64(s.PercentageUsed)),
		PowerOnHours: counter(s.PowerOnHours), PowerCycles: counter(s.PowerCycles), DataWritten: counter(s.DataWritten), MediaErrors: counter(s.MediaErrors), Page: page,
	}
	h.TemperatureC = celsius(s.Temperature)
	page, err = admin(ctx, t, nvme.IdentifyController{}.Command())
	if err != nil {
		return h, onlyGone(err)
	}
	if c, bad := nvme.ParseController(page); bad == nil {
		h.WarningC, h.CriticalC = celsius(int(c.WCTEMP)), celsius(int(c.CCTEMP))
	}
	return h, nil
}

// celsius is nil for what is no temperature of a drive.
func celsius(kelvin int) *int64 {
	if c := int64(kelvin) - 273; kelvin != 0 && c > -60 && c < 200 {
		return &c
	}
	return nil
}

func readATASMART(ctx context.Context, t Transport) (Health, error) {
	page, err := ataData(ctx, t, ata.SMARTReadData())
	if err != nil {
		return Health{}, fmt.Errorf("SMART READ DATA: %w", err)
	}
	s, err := ata.ParseSMART(page)
	if err != nil {
		return Health{}, err
	}
	h := Health{Page: page}
	if c, ok := s.Temperature(); ok {
		h.TemperatureC = some(int64(c))
	}
	if hours, ok := s.PowerOnHours(); ok {
		h.PowerOnHours = &hours
	}
	for _, x := range []struct {
		id uint8
		to **int64
	}{{ata.AttributeReallocated, &h.Reallocated}, {ata.AttributePending, &h.Pending}, {ata.AttributeUncorrectable, &h.Uncorrectable}} {
		if a, ok := s.Get(x.id); ok {
			*x.to = some(int64(a.Raw & 0xffffffff))
		}
	}
	return h, nil
}

func some(n int64) *int64 { return &n }

// counter is nil for numbers that no drive reaches.
func counter(n uint64) *int64 {
	if n > 1<<53 {
		return nil
	}
	return some(int64(n))
}

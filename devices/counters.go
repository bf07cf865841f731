package devices

import (
	"context"
	"math/bits"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// dataUnit is the unit in which NVMe drives count what hosts wrote, and all of them here.
const dataUnit = 1000 * 512

// dataUnits is a number of blocks in data units, rounded up; nil where it is none that a drive reaches.
func dataUnits(blocks uint64, block int) *int64 {
	high, low := bits.Mul64(blocks, uint64(max(block, 0)))
	if block <= 0 || high != 0 {
		return nil
	}
	n := low / dataUnit
	if low%dataUnit != 0 {
		n++
	}
	return counter(n)
}

// addStatistics adds what an ATA drive counts by the standard and not by its vendor. A drive without the log, or
// that does not answer now, only says less.
func (h *Health) addStatistics(ctx context.Context, t Transport, block int) error {
	i, _, err := ReadIdentity(ctx, t)
	if err != nil || !i.GeneralPurposeLogging() {
		return onlyGone(err)
	}
	page, err := ataData(ctx, t, ata.ReadStatistics())
	if err != nil {
		return onlyGone(err)
	}
	s, err := ata.ParseStatistics(page)
	if err != nil {
		return nil
	}
	if s.PowerOnResets != nil {
		h.PowerCycles = some(int64(*s.PowerOnResets))
	}
	if s.SectorsWritten != nil {
		h.DataWritten = dataUnits(*s.SectorsWritten, block)
	}
	page, err = ataData(ctx, t, ata.ReadTemperatures())
	if err != nil {
		return onlyGone(err)
	}
	if limit, known, bad := ata.ParseMaximumTemperature(page); bad == nil && known {
		h.WarningC = some(int64(limit))
	}
	return nil
}

// addCounters adds what a SCSI drive counts in log pages that it need not have. Of one that has several logical
// units each counts its own blocks, and nothing is said of their sum.
func (h *Health) addCounters(ctx context.Context, t Transport, d Drive) error {
	page, err := dataIn(ctx, t, scsi.LogSense(scsi.LogStartStop))
	if IsGone(err) {
		return err
	}
	if cycles, known, bad := scsi.ParseStartStopCycles(page); err == nil && bad == nil && known {
		h.StartStops = some(int64(cycles))
	}
	if len(d.Units) > 1 {
		return nil
	}
	page, err = dataIn(ctx, t, scsi.LogSense(scsi.LogGeneral))
	if IsGone(err) {
		return err
	}
	if blocks, bad := scsi.ParseBlocksReceived(page); err == nil && bad == nil {
		h.DataWritten = dataUnits(blocks, d.LogicalBlock)
	}
	return nil
}

func onlyGone(err error) error {
	if IsGone(err) {
		return err
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Sample is one run of one program.
type Sample struct {
	Process float64 `json:"process_seconds"` // from its start to its end
	Drives  float64 `json:"drives_seconds"`  // from its first write to the end of its last request
	CPU     float64 `json:"cpu_seconds"`     // of the process and its children, from where its time begins
	Read    int64   `json:"bytes_read_from_drives"`
}

// Row is what is told of one program, pass and number of drives.
type Row struct {
	Pass    Pass     `json:"pass"`
	Drives  int      `json:"drives"`
	Bytes   int64    `json:"bytes"` // of all drives
	Tool    string   `json:"tool"`
	Clock   clock    `json:"clock"`
	Void    string   `json:"void,omitempty"` // why it does not count
	Note    string   `json:"note,omitempty"`
	Samples []Sample `json:"samples"`

	GBps        Stat     `json:"gb_per_second"`
	CPU         Stat     `json:"cpu_seconds_per_gb"`
	OursFaster  *float64 `json:"ours_faster,omitempty"`   // medians: the engine's rate by this one's
	OursLessCPU *float64 `json:"ours_less_cpu,omitempty"` // medians: this one's time per GB by the engine's
	Overwritten bool     `json:"overwritten"`             // every mark was gone after every run
}

// compare runs every tool on n drives, in turns. The rows of each pass are told when all of them are there.
func compare(ctx context.Context, o Options, tools []tool, n int, work string, say func(string, ...any), told func([]Row) error) (err error) {
	free, err := free()
	if err != nil {
		return err
	}
	size, err := o.sizeOf(n, free)
	if err != nil {
		return err
	}
	s := &set{work: work}
	defer func() { err = errors.Join(err, s.remove()) }()
	for i := range n {
		file := filepath.Join(o.dir, fmt.Sprintf("drives%d-%d", n, i+1))
		if err := fillFile(file, size); err != nil {
			return err
		}
		l, err := attach(file)
		if err != nil {
			return err
		}
		s.loops = append(s.loops, l)
		if !l.Direct() {
			say("%s has no direct I/O here: its figures are of another path", l.Node)
		}
	}
	if s.cell, err = newCell(s.loops); err != nil {
		return err
	}
	defer s.cell.close()
	broken := map[string]string{}
	for _, t := range tools {
		if t.ready != nil {
			if err := t.ready(ctx, s); err != nil {
				broken[t.name] = err.Error()
			}
		}
	}
	for _, pass := range o.Passes {
		rows, err := s.pass(ctx, o.Rounds, tools, pass, broken, say)
		if err == nil {
			err = told(rows)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fillFile makes a file whose memory is all there.
func fillFile(name string, size int64) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	part := make([]byte, smallest)
	for i := range part {
		part[i] = 0x5a
	}
	for at := int64(0); at < size; at += int64(len(part)) {
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
	}
	return nil
}

func (s *set) remove() error {
	var err error
	for _, l := range s.loops {
		err = errors.Join(err, detach(l.minor, l.File), os.Remove(l.File))
	}
	return err
}

// pass has every tool do one pass in every round.
func (s *set) pass(ctx context.Context, rounds int, tools []tool, pass Pass, broken map[string]string, say func(string, ...any)) ([]Row, error) {
	var does []tool
	var rows []Row
	for _, t := range tools {
		if t.does(pass) {
			does = append(does, t)
			rows = append(rows, Row{Pass: pass, Drives: len(s.loops), Bytes: int64(len(s.loops)) * s.loops[0].Size, Tool: t.name, Clock: t.clock, Samples: []Sample{}, Void: broken[t.name]})
		}
	}
	for round := range rounds {
		say("%s, %d drives, round %d of %d", pass, len(s.loops), round+1, rounds)
		for _, i := range turns(len(does), round) {
			if rows[i].Void != "" {
				continue
			}
			sample, err := s.once(ctx, does[i], pass)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				rows[i].Void = err.Error()
				if errors.Is(err, ErrNotOurs) {
					return nil, err
				}
				continue
			}
			rows[i].Samples = append(rows[i].Samples, sample)
		}
	}
	finish(rows)
	return rows, nil
}

// once measures one run of one tool, on drives that are marked before and looked at after it.
func (s *set) once(ctx context.Context, t tool, pass Pass) (Sample, error) {
	for _, l := range s.loops {
		if err := l.Own(); err != nil {
			return Sample{}, err
		}
	}
	m, err := markDrives(s.loops)
	if err != nil {
		return Sample{}, err
	}
	w := watchDrives(s.loops)
	begin := time.Now()
	used, err := t.run(ctx, s, pass, w)
	took := time.Since(begin)
	saw := w.end()
	if err := errors.Join(err, saw.err); err != nil {
		return Sample{}, err
	}
	if t.name == engineName {
		used = max(0, used-saw.cpu) // the watching is done by the same process
	}
	if t.clock == byDrives {
		used = max(0, used-saw.idle)
	}
	return Sample{took.Seconds(), saw.span.Seconds(), used.Seconds(), saw.read}, m.gone(pass)
}

// finish makes medians and ratios of the samples.
func finish(rows []Row) {
	var engine Row
	for i := range rows {
		r := &rows[i]
		var rate, cpu []float64
		gb := float64(r.Bytes) / 1e9
		fromDrives := int64(0)
		for _, s := range r.Samples {
			seconds := s.Process
			if r.Clock == byDrives {
				seconds = s.Drives
			}
			if seconds <= 0 {
				r.Void = "the drives were not seen at work"
				continue
			}
			rate, cpu = append(rate, gb/seconds), append(cpu, s.CPU/gb)
			fromDrives += s.Read
		}
		r.Overwritten = r.Void == "" && len(r.Samples) > 0
		if r.Void != "" {
			continue
		}
		r.GBps, r.CPU = statOf(rate), statOf(cpu)
		if n := int64(len(r.Samples)); n > 0 && r.Pass == Verify && fromDrives < n*r.Bytes*99/100 {
			r.Note = fmt.Sprintf("%.0f %% of what it compared came from the drives, the rest from the host's memory", 100*float64(fromDrives)/float64(n*r.Bytes))
		}
		if r.Tool == engineName {
			engine = *r
		}
	}
	for i := range rows {
		if r := &rows[i]; r.Tool != engineName && r.Void == "" {
			r.OursFaster, r.OursLessCPU = ratio(engine.GBps, r.GBps), ratio(r.CPU, engine.CPU)
		}
	}
}

package service

import (
	"context"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// Locate switches the light of a drive's slot.
func (s *Service) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	const action = "drives.locate"
	if err := s.may(ctx, api.Operate, action, drive); err != nil {
		return api.Located{}, err
	}
	x := Action{Action: action, Object: bounded(drive)}
	d, err := s.select1(ctx, drive)
	if err != nil {
		return api.Located{}, s.refuse(ctx, x, err)
	}
	if err := s.allow(ctx, x); err != nil {
		return api.Located{}, err
	}
	if err := s.Host.Locate(ctx, d, r.On); err != nil {
		return api.Located{}, s.refuse(ctx, x, err)
	}
	return api.LocatedOf(d, r.On), nil
}

func (s *Service) select1(ctx context.Context, name string) (devices.Drive, error) {
	listed, err := s.Host.Drives(ctx)
	if err != nil {
		return devices.Drive{}, err
	}
	selected, err := s.Host.Select(listed, []string{name})
	if err != nil {
		return devices.Drive{}, err
	}
	return selected[0], nil
}

package service

import (
	"context"
	"errors"

	"github.com/expunge-dev/expunge/agent/api"
)

// Locate switches the light of a drive's slot.
func (s *Service) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	return api.Located{}, errors.New("not yet")
}

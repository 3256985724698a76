// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"fmt"
)

// OpenFirst opens the first of the platforms, in the caller's order, that this
// machine offers: the way to allow a weaker platform by name. skipped says, for
// each one before it, why it is not to be had; each is an *UnavailableError. When
// there is none the error holds them all.
func OpenFirst(kinds ...Kind) (h *Host, skipped []error, err error) {
	return openFirst(Open, kinds)
}

func openFirst(open func(Kind) (*Host, error), kinds []Kind) (*Host, []error, error) {
	var skipped []error
	for _, k := range kinds {
		h, err := open(k)
		var missing *UnavailableError
		switch {
		case err == nil:
			return h, skipped, nil
		case !errors.As(err, &missing):
			return nil, skipped, err
		}
		skipped = append(skipped, err)
	}
	switch len(skipped) {
	case 0:
		return nil, nil, errors.New("no platform is allowed")
	case 1:
		return nil, skipped, skipped[0]
	}
	err := skipped[0]
	for _, next := range skipped[1:] {
		err = fmt.Errorf("%w; %w", err, next)
	}
	return nil, skipped, err
}

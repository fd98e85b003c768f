package lists

import "context"

// FoldFrom is Fold of the lists with more than so many changes.
func (s *Service) FoldFrom(ctx context.Context, changes int64) error { return s.fold(ctx, changes) }

// KeepRolls has so many lists kept in memory.
func (s *Service) KeepRolls(n int) { s.rolls.most = n }

// Rolls gives how many lists are in memory.
func (s *Service) Rolls() (there int) {
	s.rolls.byID.Range(func(_, _ any) bool { there++; return true })
	return there
}

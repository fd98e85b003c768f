package lists

import "context"

// FoldFrom is Fold of the lists with more than so many changes.
func (s *Service) FoldFrom(ctx context.Context, changes int64) error { return s.fold(ctx, changes) }

// MostRolls is how many lists are kept in memory.
const MostRolls = mostRolls

// Rolls gives how many lists are in memory, and how many are counted.
func (s *Service) Rolls() (there, counted int) {
	s.rolls.mu.Lock()
	defer s.rolls.mu.Unlock()
	s.rolls.byID.Range(func(_, _ any) bool { there++; return true })
	return there, s.rolls.count
}

package yard

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// English prints numbers with their digits in groups.
var English = message.NewPrinter(language.English)

// Mebibytes gives bytes in MiB.
func Mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// Median gives the middle of figures, of which there is at least one.
func Median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Spread gives the median of figures and between what they lie.
func Spread(all []float64) string {
	if len(all) == 1 {
		return fmt.Sprintf("%.2f", all[0])
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", Median(all), slices.Min(all), slices.Max(all))
}

// Quantile gives, in milliseconds, the shortest of the durations that the part p of
// them, 0 to 1, does not exceed. It is not a number when there is none.
func Quantile(all []time.Duration, p float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := max(1, int(math.Ceil(p*float64(len(sorted)))))
	return float64(sorted[rank-1]) / float64(time.Millisecond)
}

/* tokens.py for a CPU, in float32. native.py compiles and calls this file.

   LANES rows are processed together, one in each lane of a vector, so that the compiler vectorises all arithmetic and
   no row affects another. Between reading and writing the rows, nothing leaves the cache. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX__ /* with AVX-512 too: 16 lanes were measured to be no faster */
#define LANES 8
#else
#define LANES 4
#endif
#define LARGEST_RADIX 61
#define TURN 6.283185307179586476925
#define INLINE static inline __attribute__((always_inline))

#ifdef _OPENMP
int omp_get_thread_num(void); /* of torch's OpenMP; its header may be missing */
#else
#define omp_get_thread_num() 0
#endif

typedef float lane __attribute__((vector_size(4 * LANES)));
typedef struct { lane re, im; } number;

INLINE number add(number a, number b) { return (number){a.re + b.re, a.im + b.im}; }
INLINE number sub(number a, number b) { return (number){a.re - b.re, a.im - b.im}; }
INLINE number conjugate(number a) { return (number){a.re, -a.im}; }
INLINE number mul(number a, const float *w) {
    return (number){a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]};
}
INLINE number mul_conj(number a, const float *w) {
    return (number){a.re * w[0] + a.im * w[1], a.im * w[0] - a.re * w[1]};
}

/* The real transform of d numbers, d even: a complex one of length d / 2 in Stockham's passes, and a pass that
   separates the even from the odd numbers. */
typedef struct { int radix, rest, stride; float *roots, *turns; } pass;
typedef struct { int d, passes; float *turns; pass pass[32]; } transform;

static void put_root(float *w, double part) { /* exp(-2 pi i part) */
    w[0] = (float)cos(TURN * part);
    w[1] = (float)-sin(TURN * part);
}

/* NULL if the passes cannot compute this length. */
transform *make_transform(int d) {
    if (d < 2 || d % 2) return NULL;
    transform *t = calloc(1, sizeof *t);
    if (!t || !(t->turns = malloc(sizeof(float) * 2 * (d / 2 + 1)))) return NULL;
    t->d = d;
    for (int i = 0; i <= d / 2; i++) put_root(t->turns + 2 * i, (double)i / d);
    for (int length = d / 2, stride = 1; length > 1;) {
        int r = length % 4 ? 2 : 4;
        while (length % r) r++;
        if (r > LARGEST_RADIX) return NULL;
        pass *s = t->pass + t->passes++;
        *s = (pass){r, length / r, stride, malloc(sizeof(float) * 2 * r), malloc(sizeof(float) * 2 * length)};
        if (!s->roots || !s->turns) return NULL;
        for (int j = 0; j < r; j++) put_root(s->roots + 2 * j, (double)j / r);
        for (int i = 0; i < s->rest; i++)
            for (int j = 0; j < r; j++) put_root(s->turns + 2 * (r * i + j), (double)i * j / length);
        length /= r;
        stride *= r;
    }
    return t;
}

INLINE void butterfly(int r, const pass *s, const number *x, size_t step, number *y, size_t to, const float *w) {
    if (r == 4) {
        number a = add(x[0], x[2 * step]), b = sub(x[0], x[2 * step]);
        number c = add(x[step], x[3 * step]), d = sub(x[step], x[3 * step]), e = {d.im, -d.re};
        y[0] = add(a, c);
        y[to] = mul(add(b, e), w + 2);
        y[2 * to] = mul(sub(a, c), w + 4);
        y[3 * to] = mul(sub(b, e), w + 6);
    } else if (r == 2) {
        y[0] = add(x[0], x[step]);
        y[to] = mul(sub(x[0], x[step]), w + 2);
    } else { /* odd: outputs j and r - j are sum and difference of the same two terms */
        number even[LARGEST_RADIX / 2 + 1], odd[LARGEST_RADIX / 2 + 1];
        y[0] = x[0];
        for (int i = 1; i <= r / 2; i++) {
            even[i] = add(x[i * step], x[(r - i) * step]);
            odd[i] = sub(x[i * step], x[(r - i) * step]);
            y[0] = add(y[0], even[i]);
        }
        for (int j = 1; j <= r / 2; j++) {
            number a = x[0], b = {{0}, {0}};
            for (int i = 1, at = j; i <= r / 2; i++, at = (at + j) % r) {
                float cosine = s->roots[2 * at], sine = s->roots[2 * at + 1];
                a = add(a, (number){cosine * even[i].re, cosine * even[i].im});
                b = add(b, (number){-sine * odd[i].im, sine * odd[i].re});
            }
            y[j * to] = mul(add(a, b), w + 2 * j);
            y[(r - j) * to] = mul(sub(a, b), w + 2 * (r - j));
        }
    }
}

INLINE void run_pass(int r, const pass *s, const number *x, number *y) {
    size_t stride = s->stride;
    for (size_t p = 0; p < (size_t)s->rest; p++)
        for (size_t q = 0; q < stride; q++)
            butterfly(r, s, x + stride * p + q, stride * s->rest, y + stride * r * p + q, stride, s->turns + 2 * r * p);
}

/* The complex transform of the d / 2 numbers at a; b is of the same size. Returns where the result is, a or b. */
static number *complex_transform(const transform *t, number *a, number *b) {
    for (const pass *s = t->pass; s < t->pass + t->passes; s++) {
        switch (s->radix) { /* constants, so that each radix is compiled separately */
            case 4: run_pass(4, s, a, b); break;
            case 2: run_pass(2, s, a, b); break;
            case 3: run_pass(3, s, a, b); break;
            default: run_pass(s->radix, s, a, b);
        }
        number *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

/* From the transform of x[even] + i x[odd] to the d / 2 + 1 bins of x, in place. */
static void separate(const transform *t, number *z) {
    int h = t->d / 2;
    z[h] = z[0];
    for (int v = 0; 2 * v <= h; v++) {
        number a = z[v], b = conjugate(z[h - v]), even = add(a, b), odd = sub(a, b);
        odd = mul((number){odd.im, -odd.re}, t->turns + 2 * v);
        number low = add(even, odd), high = sub(even, odd);
        z[v] = (number){0.5f * low.re, 0.5f * low.im};
        z[h - v] = (number){0.5f * high.re, -0.5f * high.im};
    }
}

/* From the d / 2 + 1 bins of y to that whose complex transform is y[odd] + i y[even], in place. (Exchanging Re and Im
   before and after makes the forward transform an inverse one.) */
static void join(const transform *t, number *z) {
    int h = t->d / 2;
    z[0].im = z[h].im = (lane){0}; /* real, as their own mirrors */
    for (int v = 0; 2 * v <= h; v++) {
        number a = z[v], b = conjugate(z[h - v]), even = add(a, b), odd = mul_conj(sub(a, b), t->turns + 2 * v);
        z[v] = (number){even.im + odd.re, even.re - odd.im};
        z[h - v] = (number){odd.re - even.im, even.re + odd.im};
    }
}

INLINE float widen(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* y + change in bfloat16, rounded up or down pseudo-randomly so that it is right on average: rounded to the nearest, a
   change below half the last digit of y would be lost in every row. The pseudo-random bits depend on the digits of y
   and its column, not on its exponent: equal inputs give equal results, halved ones halved results, and a change of 0
   leaves y as it is. */
INLINE uint16_t add_narrow(uint16_t y, float change, uint32_t column) {
    uint32_t bits, dice = ((y & 0x807f) * 40503u + column * 2246822519u) * 2654435769u >> 16;
    float sum = widen(y) + change;
    memcpy(&bits, &sum, 4);
    return sum != sum ? 0x7fc0 : (uint16_t)((bits + dice) >> 16);
}

/* Rows of d numbers, float32 or bfloat16, contiguous. */
typedef struct { void *at; int bfloat16; } rows_of;

INLINE void load_some(float *z, rows_of x, int bfloat16, size_t row, int count, int d) {
    for (int start = 0; start < d; start += 16) /* for the first-level cache */
        for (int l = 0; l < count; l++)
            for (int i = start; i < d && i < start + 16; i++) {
                size_t at = (row + l) * d + i;
                z[(size_t)i * LANES + l] = bfloat16 ? widen(((uint16_t *)x.at)[at]) : ((float *)x.at)[at];
            }
}

INLINE void add_some(const float *z, rows_of y, int bfloat16, size_t row, int count, int d) {
    for (int start = 0; start < d; start += 16)
        for (int l = 0; l < count; l++)
            for (int i = start; i < d && i < start + 16; i++) {
                size_t at = (row + l) * d + i;
                float change = z[(size_t)(i ^ 1) * LANES + l]; /* Re and Im are exchanged, see join */
                if (bfloat16) ((uint16_t *)y.at)[at] = add_narrow(((uint16_t *)y.at)[at], change, i);
                else ((float *)y.at)[at] += change;
            }
}

/* The bins of `count` rows, beginning with `row`; they are at a or b. */
static number *bins_of(rows_of x, size_t row, int count, const transform *t, number *a, number *b) {
    if (count < LANES) memset(a, 0, sizeof *a * (t->d / 2));
    if (x.bfloat16) load_some((float *)a, x, 1, row, count, t->d);
    else load_some((float *)a, x, 0, row, count, t->d);
    number *bins = complex_transform(t, a, b);
    separate(t, bins);
    return bins;
}

static int64_t most_bins(const transform *from, const transform *to) {
    return (from->d > to->d ? from->d : to->d) / 2 + 1;
}

/* Bytes of memory that a thread needs. */
int64_t room(const transform *from, const transform *to, int64_t n) {
    return 4 * most_bins(from, to) * sizeof(number) + 2 * n * sizeof(lane);
}

/* The factors of `count` rows, beginning with `row`, by lane: those of a row are at factor + row / alike * n. */
static void factors_of(const float *factor, int64_t alike, int64_t row, int count, int64_t n, lane *f) {
    for (int l = 0; l < LANES; l++) {
        const float *own = factor + (row + (l < count ? l : 0)) / alike * n;
        for (int64_t k = 0; k < n; k++) ((float *)f)[k * LANES + l] = own[k];
    }
}

/* With X and W, the bins of the rows x: (rows, from->d) and w: (rows, to->d),

       y += irfft(Y),   Y[to_k] += factor_k (Re X[from_k] - i sign_k Im X[from_k]),                  unless y is NULL
       sums_k = sum over rows of Re X[from_k] Re W[to_k] - sign_k Im X[from_k] Im W[to_k],           unless w is NULL

   factor: (rows / alike, n), one for the next `alike` rows. sums: (threads, n), zero at first, a row for each thread. memory: threads times `room`, aligned to 64 bytes. */
void through_spectrum(
    int64_t rows, int threads, char *memory, const transform *from, const transform *to, int64_t n, const int64_t *at_from,
    const int64_t *at_to, const float *sign, const float *factor, int64_t alike, void *x, int x_bfloat16, void *w,
    int w_bfloat16, void *y, int y_bfloat16, double *sums) {
    int64_t blocks = (rows + LANES - 1) / LANES, size = room(from, to, n), bins = most_bins(from, to);
    if (threads > blocks) threads = (int)blocks;
#pragma omp parallel num_threads(threads)
    {
        number *a = (number *)(memory + omp_get_thread_num() * size), *b = a + bins, *c = b + bins, *d = c + bins;
        lane *sum = (lane *)(d + bins), *f = sum + n;
        int64_t whose = -1; /* the factors that are in every lane of f; -1 if they differ */
        memset(sum, 0, n * sizeof *sum);
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            int64_t row = block * LANES;
            int count = rows - row < LANES ? (int)(rows - row) : LANES;
            const number *X = bins_of((rows_of){x, x_bfloat16}, row, count, from, a, b);
            if (w) {
                const number *W = bins_of((rows_of){w, w_bfloat16}, row, count, to, c, d);
                for (int64_t k = 0; k < n; k++) {
                    const number *p = X + at_from[k], *q = W + at_to[k];
                    sum[k] += p->re * q->re - sign[k] * (p->im * q->im);
                }
            }
            if (y) {
                int64_t first = row / alike, last = (row + count - 1) / alike;
                if (first != last || first != whose) factors_of(factor, alike, row, count, n, f);
                whose = first == last ? first : -1;
                memset(c, 0, sizeof *c * (to->d / 2 + 1));
                for (int64_t k = 0; k < n; k++) {
                    const number *p = X + at_from[k];
                    number *q = c + at_to[k];
                    q->re += f[k] * p->re;
                    q->im -= f[k] * sign[k] * p->im;
                }
                join(to, c);
                const float *change = (const float *)complex_transform(to, c, d);
                if (y_bfloat16) add_some(change, (rows_of){y, 1}, 1, row, count, to->d);
                else add_some(change, (rows_of){y, 0}, 0, row, count, to->d);
            }
        }
        for (int64_t k = 0; w && k < n; k++)
            for (int l = 0; l < LANES; l++) sums[omp_get_thread_num() * n + k] += sum[k][l];
    }
}

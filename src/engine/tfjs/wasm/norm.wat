;; Batch norm over rows of channels, and ReLU, in float32. `bytes` is the size of a row, a multiple of 16.
;; Sums are float32 over a block of rows, which the caller chooses, and are added up in float64.
;; Compile with: npm run wasm
(module
  (memory (import "env" "memory") 1)

  ;; sums[2][channels] += x - shift and its square over rows that lie `step` bytes apart. `block` is scratch of
  ;; the same layout in float32, all zeros, and left so.
  (func (export "moments") (param $x i32) (param $rows i32) (param $step i32) (param $bytes i32)
        (param $shift i32) (param $block i32) (param $sums i32)
    (local $c i32) (local $p i32) (local $s i32) (local $d v128)
    (loop $eachRow
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $d (f32x4.sub (v128.load (i32.add (local.get $x) (local.get $c))) (v128.load (i32.add (local.get $shift) (local.get $c)))))
        (local.set $s (i32.add (local.get $block) (local.get $c)))
        (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s)) (local.get $d)))
        (local.set $s (i32.add (local.get $s) (local.get $bytes)))
        (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s)) (f32x4.mul (local.get $d) (local.get $d))))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (local.set $x (i32.add (local.get $x) (local.get $step)))
      (br_if $eachRow (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))
    (call $flush (local.get $block) (local.get $sums) (local.get $bytes)))

  ;; sums[2][channels] += dy and dy*(x - mean)
  (func (export "gradientSums") (param $dy i32) (param $x i32) (param $rows i32) (param $bytes i32)
        (param $mean i32) (param $block i32) (param $sums i32)
    (local $c i32) (local $s i32) (local $d v128)
    (loop $eachRow
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $d (v128.load (i32.add (local.get $dy) (local.get $c))))
        (local.set $s (i32.add (local.get $block) (local.get $c)))
        (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s)) (local.get $d)))
        (local.set $s (i32.add (local.get $s) (local.get $bytes)))
        (v128.store (local.get $s) (f32x4.add (v128.load (local.get $s)) (f32x4.mul (local.get $d)
          (f32x4.sub (v128.load (i32.add (local.get $x) (local.get $c))) (v128.load (i32.add (local.get $mean) (local.get $c)))))))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (local.set $dy (i32.add (local.get $dy) (local.get $bytes)))
      (local.set $x (i32.add (local.get $x) (local.get $bytes)))
      (br_if $eachRow (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))
    (call $flush (local.get $block) (local.get $sums) (local.get $bytes)))

  ;; Adds block[2][channels] to sums in float64, and clears it.
  (func $flush (param $block i32) (param $sums i32) (param $bytes i32)
    (local $end i32) (local $v v128)
    (local.set $end (i32.add (local.get $block) (i32.shl (local.get $bytes) (i32.const 1))))
    (loop $each
      (local.set $v (v128.load (local.get $block)))
      (v128.store (local.get $block) (v128.const i64x2 0 0))
      (v128.store (local.get $sums) (f64x2.add (v128.load (local.get $sums)) (f64x2.promote_low_f32x4 (local.get $v))))
      (v128.store offset=16 (local.get $sums) (f64x2.add (v128.load offset=16 (local.get $sums))
        (f64x2.promote_low_f32x4 (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $v) (local.get $v)))))
      (local.set $sums (i32.add (local.get $sums) (i32.const 32)))
      (br_if $each (i32.lt_u (local.tee $block (i32.add (local.get $block) (i32.const 16))) (local.get $end)))))

  ;; y = (x - mean) * scale + beta; coefficients[3][channels]
  (func (export "normalise") (param $y i32) (param $x i32) (param $rows i32) (param $bytes i32) (param $coefficients i32)
    (local $c i32) (local $p i32)
    (loop $eachRow
      (local.set $p (local.get $coefficients))
      (local.set $c (local.get $bytes))
      (loop $channels
        (v128.store (local.get $y) (f32x4.add (v128.load (i32.add (i32.add (local.get $p) (local.get $bytes)) (local.get $bytes)))
          (f32x4.mul (v128.load (i32.add (local.get $p) (local.get $bytes)))
            (f32x4.sub (v128.load (local.get $x)) (v128.load (local.get $p))))))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (local.set $y (i32.add (local.get $y) (i32.const 16)))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (br_if $channels (local.tee $c (i32.sub (local.get $c) (i32.const 16)))))
      (br_if $eachRow (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))

  ;; dx = scale*(dy - offset - slope*(x - mean)); coefficients[4][channels]: mean, scale, offset, slope
  (func (export "normaliseGrad") (param $dx i32) (param $dy i32) (param $x i32) (param $rows i32) (param $bytes i32)
        (param $coefficients i32)
    (local $c i32) (local $p i32) (local $q i32)
    (loop $eachRow
      (local.set $p (local.get $coefficients))
      (local.set $c (local.get $bytes))
      (loop $channels
        (local.set $q (i32.add (i32.add (local.get $p) (local.get $bytes)) (local.get $bytes)))
        (v128.store (local.get $dx) (f32x4.mul (v128.load (i32.add (local.get $p) (local.get $bytes)))
          (f32x4.sub (f32x4.sub (v128.load (local.get $dy)) (v128.load (local.get $q)))
            (f32x4.mul (v128.load (i32.add (local.get $q) (local.get $bytes)))
              (f32x4.sub (v128.load (local.get $x)) (v128.load (local.get $p)))))))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (local.set $dx (i32.add (local.get $dx) (i32.const 16)))
        (local.set $dy (i32.add (local.get $dy) (i32.const 16)))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (br_if $channels (local.tee $c (i32.sub (local.get $c) (i32.const 16)))))
      (br_if $eachRow (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))

  ;; x[row][channel] *= factors[row], over rows; in place
  (func (export "scaleRows") (param $x i32) (param $factors i32) (param $rows i32) (param $bytes i32)
    (local $c i32) (local $f v128)
    (loop $eachRow
      (local.set $f (v128.load32_splat (local.get $factors)))
      (local.set $c (local.get $bytes))
      (loop $channels
        (v128.store (local.get $x) (f32x4.mul (v128.load (local.get $x)) (local.get $f)))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (br_if $channels (local.tee $c (i32.sub (local.get $c) (i32.const 16)))))
      (local.set $factors (i32.add (local.get $factors) (i32.const 4)))
      (br_if $eachRow (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))

  ;; out = 0 where y <= 0 and otherwise given, for any count: given = y is ReLU, given = dy its gradient.
  ;; NaN passes through.
  (func (export "wherePositive") (param $out i32) (param $given i32) (param $y i32) (param $count i32)
    (block $tail
      (br_if $tail (i32.lt_u (local.get $count) (i32.const 4)))
      (loop $fours
        (v128.store (local.get $out) (v128.andnot (v128.load (local.get $given))
          (f32x4.le (v128.load (local.get $y)) (v128.const i64x2 0 0))))
        (local.set $out (i32.add (local.get $out) (i32.const 16)))
        (local.set $given (i32.add (local.get $given) (i32.const 16)))
        (local.set $y (i32.add (local.get $y) (i32.const 16)))
        (br_if $fours (i32.ge_u (local.tee $count (i32.sub (local.get $count) (i32.const 4))) (i32.const 4)))))
    (if (local.get $count)
      (then
        (loop $ones
          (f32.store (local.get $out) (select (f32.const 0) (f32.load (local.get $given)) (f32.le (f32.load (local.get $y)) (f32.const 0))))
          (local.set $out (i32.add (local.get $out) (i32.const 4)))
          (local.set $given (i32.add (local.get $given) (i32.const 4)))
          (local.set $y (i32.add (local.get $y) (i32.const 4)))
          (br_if $ones (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))))
)

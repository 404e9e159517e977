;; Convolutions over N,H,W,C in float32, and their gradients, as products of matrices that are never
;; written out. A *table* lists pairs of addresses (input row, output row), one pair for each output
;; pixel; a *run* is a stretch of `length` consecutive inputs, at `runs[r]` bytes from a pixel's input
;; row, that all its outputs read: one kernel tap, or a whole row of taps. Pointers are in bytes. Columns
;; go in panels of 8; the sums of a 4x8 tile stay in registers.
;; Compile with: npm run wasm
(module
  (memory (import "env" "memory") 1)

  ;; Fills a table for images x rows x columns pixels, given the steps of both addresses.
  (func (export "fill") (param $table i32) (param $images i32) (param $rows i32) (param $columns i32)
        (param $in i32) (param $inImage i32) (param $inRow i32) (param $inColumn i32)
        (param $out i32) (param $outImage i32) (param $outRow i32) (param $outColumn i32)
    (local $row i32) (local $column i32) (local $inLine i32) (local $outLine i32) (local $a i32) (local $b i32)
    (loop $eachImage
      (local.set $inLine (local.get $in))
      (local.set $outLine (local.get $out))
      (local.set $row (local.get $rows))
      (loop $eachRow
        (local.set $a (local.get $inLine))
        (local.set $b (local.get $outLine))
        (local.set $column (local.get $columns))
        (loop $eachColumn
          (i32.store (local.get $table) (local.get $a))
          (i32.store offset=4 (local.get $table) (local.get $b))
          (local.set $table (i32.add (local.get $table) (i32.const 8)))
          (local.set $a (i32.add (local.get $a) (local.get $inColumn)))
          (local.set $b (i32.add (local.get $b) (local.get $outColumn)))
          (br_if $eachColumn (local.tee $column (i32.sub (local.get $column) (i32.const 1)))))
        (local.set $inLine (i32.add (local.get $inLine) (local.get $inRow)))
        (local.set $outLine (i32.add (local.get $outLine) (local.get $outRow)))
        (br_if $eachRow (local.tee $row (i32.sub (local.get $row) (i32.const 1)))))
      (local.set $in (i32.add (local.get $in) (local.get $inImage)))
      (local.set $out (i32.add (local.get $out) (local.get $outImage)))
      (br_if $eachImage (local.tee $images (i32.sub (local.get $images) (i32.const 1))))))

  ;; Weights to panels: dst[column / 8][tap][inner][8], zero beyond the last column. Element (tap, inner,
  ;; column) lies at src + taps[tap] + inner*innerStep + column*columnStep.
  (func (export "packWeights") (param $dst i32) (param $src i32) (param $taps i32) (param $tapCount i32)
        (param $inner i32) (param $innerStep i32) (param $columns i32) (param $columnStep i32)
    (local $left i32) (local $tap i32) (local $k i32) (local $p i32) (local $j i32)
    (local.set $left (local.get $columns))
    (loop $panels
      (local.set $tap (i32.const 0))
      (loop $eachTap
        (local.set $p (i32.add (local.get $src) (i32.load (i32.add (local.get $taps) (i32.shl (local.get $tap) (i32.const 2))))))
        (local.set $k (local.get $inner))
        (loop $eachInner
          (if (i32.and (i32.eq (local.get $columnStep) (i32.const 4)) (i32.ge_u (local.get $left) (i32.const 8)))
            (then
              (v128.store (local.get $dst) (v128.load (local.get $p)))
              (v128.store offset=16 (local.get $dst) (v128.load offset=16 (local.get $p))))
            (else
              (v128.store (local.get $dst) (v128.const i64x2 0 0))
              (v128.store offset=16 (local.get $dst) (v128.const i64x2 0 0))
              (local.set $j (i32.const 0))
              (loop $eachColumn
                (f32.store (i32.add (local.get $dst) (i32.shl (local.get $j) (i32.const 2)))
                  (f32.load (i32.add (local.get $p) (i32.mul (local.get $j) (local.get $columnStep)))))
                (local.set $j (i32.add (local.get $j) (i32.const 1)))
                (br_if $eachColumn (i32.and (i32.lt_u (local.get $j) (local.get $left)) (i32.lt_u (local.get $j) (i32.const 8)))))))
          (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
          (local.set $p (i32.add (local.get $p) (local.get $innerStep)))
          (br_if $eachInner (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (br_if $eachTap (i32.lt_u (local.tee $tap (i32.add (local.get $tap) (i32.const 1))) (local.get $tapCount))))
      (local.set $src (i32.add (local.get $src) (i32.shl (local.get $columnStep) (i32.const 3))))
      (br_if $panels (i32.gt_s (local.tee $left (i32.sub (local.get $left) (i32.const 8))) (i32.const 0)))))

  ;; Inputs to tiles: dst[pixel / 4][run][k][4]. The last tile is filled up with the last pixel.
  (func (export "packInputs") (param $dst i32) (param $table i32) (param $count i32) (param $runs i32)
        (param $runCount i32) (param $length i32)
    (local $pixel i32) (local $run i32) (local $runEnd i32) (local $last i32) (local $k i32) (local $delta i32)
    (local $a0 i32) (local $a1 i32) (local $a2 i32) (local $a3 i32)
    (local $x0 v128) (local $x1 v128) (local $x2 v128) (local $x3 v128)
    (local $y0 v128) (local $y1 v128) (local $y2 v128) (local $y3 v128)
    (local.set $last (i32.add (local.get $table) (i32.shl (i32.sub (local.get $count) (i32.const 1)) (i32.const 3))))
    (local.set $runEnd (i32.add (local.get $runs) (i32.shl (local.get $runCount) (i32.const 2))))
    (local.set $pixel (local.get $table))
    (loop $tiles
      (local.set $run (local.get $runs))
      (loop $eachRun
        (local.set $delta (i32.load (local.get $run)))
        (local.set $a0 (i32.add (i32.load (local.get $pixel)) (local.get $delta)))
        (local.set $a1 (i32.add (i32.load (select (i32.add (local.get $pixel) (i32.const 8)) (local.get $last) (i32.lt_u (i32.add (local.get $pixel) (i32.const 8)) (local.get $last)))) (local.get $delta)))
        (local.set $a2 (i32.add (i32.load (select (i32.add (local.get $pixel) (i32.const 16)) (local.get $last) (i32.lt_u (i32.add (local.get $pixel) (i32.const 16)) (local.get $last)))) (local.get $delta)))
        (local.set $a3 (i32.add (i32.load (select (i32.add (local.get $pixel) (i32.const 24)) (local.get $last) (i32.lt_u (i32.add (local.get $pixel) (i32.const 24)) (local.get $last)))) (local.get $delta)))
        (local.set $k (local.get $length))
        (block $four
          (br_if $four (i32.lt_u (local.get $k) (i32.const 4)))
          (loop $fours
            (local.set $x0 (v128.load (local.get $a0)))
            (local.set $x1 (v128.load (local.get $a1)))
            (local.set $x2 (v128.load (local.get $a2)))
            (local.set $x3 (v128.load (local.get $a3)))
            (local.set $y0 (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $x0) (local.get $x1)))
            (local.set $y1 (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $x2) (local.get $x3)))
            (local.set $y2 (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $x0) (local.get $x1)))
            (local.set $y3 (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $x2) (local.get $x3)))
            (v128.store (local.get $dst) (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $y0) (local.get $y1)))
            (v128.store offset=16 (local.get $dst) (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $y0) (local.get $y1)))
            (v128.store offset=32 (local.get $dst) (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $y2) (local.get $y3)))
            (v128.store offset=48 (local.get $dst) (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $y2) (local.get $y3)))
            (local.set $a0 (i32.add (local.get $a0) (i32.const 16)))
            (local.set $a1 (i32.add (local.get $a1) (i32.const 16)))
            (local.set $a2 (i32.add (local.get $a2) (i32.const 16)))
            (local.set $a3 (i32.add (local.get $a3) (i32.const 16)))
            (local.set $dst (i32.add (local.get $dst) (i32.const 64)))
            (br_if $fours (i32.ge_u (local.tee $k (i32.sub (local.get $k) (i32.const 4))) (i32.const 4)))))
        (if (local.get $k)
          (then
            (loop $ones
              (f32.store (local.get $dst) (f32.load (local.get $a0)))
              (f32.store offset=4 (local.get $dst) (f32.load (local.get $a1)))
              (f32.store offset=8 (local.get $dst) (f32.load (local.get $a2)))
              (f32.store offset=12 (local.get $dst) (f32.load (local.get $a3)))
              (local.set $a0 (i32.add (local.get $a0) (i32.const 4)))
              (local.set $a1 (i32.add (local.get $a1) (i32.const 4)))
              (local.set $a2 (i32.add (local.get $a2) (i32.const 4)))
              (local.set $a3 (i32.add (local.get $a3) (i32.const 4)))
              (local.set $dst (i32.add (local.get $dst) (i32.const 16)))
              (br_if $ones (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))))
        (br_if $eachRun (i32.lt_u (local.tee $run (i32.add (local.get $run) (i32.const 4))) (local.get $runEnd))))
      (br_if $tiles (i32.le_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 32))) (local.get $last)))))

  ;; out[pixel][column] = inputs * weights, `inner` numbers each, or += if `more`. `inputs` is what packInputs
  ;; made; a panel of weights is `panel` bytes from the one before. `scratch`: 32 bytes. The inner loop is not
  ;; unrolled: V8 then runs out of registers, and it takes 2.5 times as long.
  (func (export "multiply") (param $table i32) (param $count i32) (param $inputs i32) (param $weights i32)
        (param $panel i32) (param $inner i32) (param $columns i32) (param $more i32) (param $scratch i32)
    (local $pixel i32) (local $last i32) (local $a i32) (local $b i32) (local $bEnd i32) (local $column i32) (local $i i32) (local $o i32)
    (local $b0 v128) (local $b1 v128) (local $x v128)
    (local $c00 v128) (local $c01 v128) (local $c10 v128) (local $c11 v128)
    (local $c20 v128) (local $c21 v128) (local $c30 v128) (local $c31 v128)
    (local.set $last (i32.add (local.get $table) (i32.shl (i32.sub (local.get $count) (i32.const 1)) (i32.const 3))))
    (loop $panels
      (local.set $pixel (local.get $table))
      (local.set $a (local.get $inputs))
      (local.set $bEnd (i32.add (local.get $weights) (i32.shl (local.get $inner) (i32.const 5))))
      (loop $tiles
        (local.set $c00 (v128.const i64x2 0 0)) (local.set $c01 (v128.const i64x2 0 0))
        (local.set $c10 (v128.const i64x2 0 0)) (local.set $c11 (v128.const i64x2 0 0))
        (local.set $c20 (v128.const i64x2 0 0)) (local.set $c21 (v128.const i64x2 0 0))
        (local.set $c30 (v128.const i64x2 0 0)) (local.set $c31 (v128.const i64x2 0 0))
        (local.set $b (local.get $weights))
        (loop $inner
          (local.set $b0 (v128.load (local.get $b)))
          (local.set $b1 (v128.load offset=16 (local.get $b)))
          (local.set $x (v128.load32_splat offset=0 (local.get $a)))
          (local.set $c00 (f32x4.add (local.get $c00) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c01 (f32x4.add (local.get $c01) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat offset=4 (local.get $a)))
          (local.set $c10 (f32x4.add (local.get $c10) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c11 (f32x4.add (local.get $c11) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat offset=8 (local.get $a)))
          (local.set $c20 (f32x4.add (local.get $c20) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c21 (f32x4.add (local.get $c21) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat offset=12 (local.get $a)))
          (local.set $c30 (f32x4.add (local.get $c30) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c31 (f32x4.add (local.get $c31) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $a (i32.add (local.get $a) (i32.const 16)))
          (br_if $inner (i32.lt_u (local.tee $b (i32.add (local.get $b) (i32.const 32))) (local.get $bEnd))))
        (call $store (i32.add (i32.load offset=4 (local.get $pixel)) (local.get $column)) (local.get $c00) (local.get $c01) (local.get $columns) (local.get $more) (local.get $scratch))
        (if (i32.le_u (i32.add (local.get $pixel) (i32.const 8)) (local.get $last))
          (then (call $store (i32.add (i32.load offset=4 (i32.add (local.get $pixel) (i32.const 8))) (local.get $column)) (local.get $c10) (local.get $c11) (local.get $columns) (local.get $more) (local.get $scratch))))
        (if (i32.le_u (i32.add (local.get $pixel) (i32.const 16)) (local.get $last))
          (then (call $store (i32.add (i32.load offset=4 (i32.add (local.get $pixel) (i32.const 16))) (local.get $column)) (local.get $c20) (local.get $c21) (local.get $columns) (local.get $more) (local.get $scratch))))
        (if (i32.le_u (i32.add (local.get $pixel) (i32.const 24)) (local.get $last))
          (then (call $store (i32.add (i32.load offset=4 (i32.add (local.get $pixel) (i32.const 24))) (local.get $column)) (local.get $c30) (local.get $c31) (local.get $columns) (local.get $more) (local.get $scratch))))
        (br_if $tiles (i32.le_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 32))) (local.get $last))))
      (local.set $weights (i32.add (local.get $weights) (local.get $panel)))
      (local.set $column (i32.add (local.get $column) (i32.const 32)))
      (br_if $panels (i32.gt_s (local.tee $columns (i32.sub (local.get $columns) (i32.const 8))) (i32.const 0)))))

  ;; out = or += the first `count` of 8 numbers.
  (func $store (param $out i32) (param $low v128) (param $high v128) (param $count i32) (param $more i32) (param $scratch i32)
    (if (i32.ge_s (local.get $count) (i32.const 8))
      (then
        (if (local.get $more)
          (then
            (local.set $low (f32x4.add (v128.load (local.get $out)) (local.get $low)))
            (local.set $high (f32x4.add (v128.load offset=16 (local.get $out)) (local.get $high)))))
        (v128.store (local.get $out) (local.get $low))
        (v128.store offset=16 (local.get $out) (local.get $high)))
      (else
        (v128.store (local.get $scratch) (local.get $low))
        (v128.store offset=16 (local.get $scratch) (local.get $high))
        (loop $each
          (f32.store (local.get $out) (f32.add (f32.load (local.get $scratch))
            (select (f32.load (local.get $out)) (f32.const 0) (local.get $more))))
          (local.set $out (i32.add (local.get $out) (i32.const 4)))
          (local.set $scratch (i32.add (local.get $scratch) (i32.const 4)))
          (br_if $each (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))))

  ;; The first `count` of 8 numbers, 1 to 7, and zeros, to dst.
  (func $copyPart (param $dst i32) (param $src i32) (param $count i32)
    (v128.store (local.get $dst) (v128.const i64x2 0 0))
    (v128.store offset=16 (local.get $dst) (v128.const i64x2 0 0))
    (loop $each
      (f32.store (local.get $dst) (f32.load (local.get $src)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 4)))
      (local.set $src (i32.add (local.get $src) (i32.const 4)))
      (br_if $each (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))

  ;; The table's output rows to panels: dst[column / 8][pixel][8], zero beyond the last column.
  (func (export "packOutputs") (param $dst i32) (param $table i32) (param $count i32) (param $columns i32)
    (local $pixel i32) (local $end i32) (local $column i32) (local $p i32)
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (loop $panels
      (local.set $pixel (local.get $table))
      (if (i32.ge_s (local.get $columns) (i32.const 8))
        (then
          (loop $each
            (local.set $p (i32.add (i32.load offset=4 (local.get $pixel)) (local.get $column)))
            (v128.store (local.get $dst) (v128.load (local.get $p)))
            (v128.store offset=16 (local.get $dst) (v128.load offset=16 (local.get $p)))
            (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
            (br_if $each (i32.lt_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 8))) (local.get $end)))))
        (else
          (loop $part
            (call $copyPart (local.get $dst) (i32.add (i32.load offset=4 (local.get $pixel)) (local.get $column)) (local.get $columns))
            (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
            (br_if $part (i32.lt_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 8))) (local.get $end))))))
      (local.set $column (i32.add (local.get $column) (i32.const 32)))
      (br_if $panels (i32.gt_s (local.tee $columns (i32.sub (local.get $columns) (i32.const 8))) (i32.const 0)))))

  ;; sums[run][length rounded up to 4][8*panels] += sum over the table's pixels of in * out: `outs` is what
  ;; packOutputs made, `scratch` holds 4 numbers for each pixel. Up to 3 inputs behind a run are read.
  (func (export "correlate") (param $sums i32) (param $table i32) (param $count i32) (param $outs i32)
        (param $scratch i32) (param $panels i32) (param $runs i32) (param $runCount i32) (param $length i32)
    (local $run i32) (local $runEnd i32) (local $k i32) (local $delta i32) (local $pixel i32) (local $end i32)
    (local $a i32) (local $aEnd i32) (local $b i32) (local $panel i32) (local $row i32) (local $s i32)
    (local $b0 v128) (local $b1 v128) (local $x v128)
    (local $c00 v128) (local $c01 v128) (local $c10 v128) (local $c11 v128)
    (local $c20 v128) (local $c21 v128) (local $c30 v128) (local $c31 v128)
    (local.set $row (i32.shl (local.get $panels) (i32.const 5)))
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (local.set $aEnd (i32.add (local.get $scratch) (i32.shl (local.get $count) (i32.const 4))))
    (local.set $run (local.get $runs))
    (local.set $runEnd (i32.add (local.get $runs) (i32.shl (local.get $runCount) (i32.const 2))))
    (loop $eachRun
      (local.set $delta (i32.load (local.get $run)))
      (local.set $k (local.get $length))
      (loop $fours
        (local.set $pixel (local.get $table))
        (local.set $a (local.get $scratch))
        (loop $pack
          (v128.store (local.get $a) (v128.load (i32.add (i32.load (local.get $pixel)) (local.get $delta))))
          (local.set $a (i32.add (local.get $a) (i32.const 16)))
          (br_if $pack (i32.lt_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 8))) (local.get $end))))
        (local.set $b (local.get $outs))
        (local.set $panel (local.get $panels))
        (local.set $s (local.get $sums))
        (loop $eachPanel
          (local.set $a (local.get $scratch))
          (local.set $c00 (v128.const i64x2 0 0)) (local.set $c01 (v128.const i64x2 0 0))
          (local.set $c10 (v128.const i64x2 0 0)) (local.set $c11 (v128.const i64x2 0 0))
          (local.set $c20 (v128.const i64x2 0 0)) (local.set $c21 (v128.const i64x2 0 0))
          (local.set $c30 (v128.const i64x2 0 0)) (local.set $c31 (v128.const i64x2 0 0))
          (loop $inner
            (local.set $b0 (v128.load (local.get $b)))
            (local.set $b1 (v128.load offset=16 (local.get $b)))
            (local.set $x (v128.load32_splat offset=0 (local.get $a)))
            (local.set $c00 (f32x4.add (local.get $c00) (f32x4.mul (local.get $x) (local.get $b0))))
            (local.set $c01 (f32x4.add (local.get $c01) (f32x4.mul (local.get $x) (local.get $b1))))
            (local.set $x (v128.load32_splat offset=4 (local.get $a)))
            (local.set $c10 (f32x4.add (local.get $c10) (f32x4.mul (local.get $x) (local.get $b0))))
            (local.set $c11 (f32x4.add (local.get $c11) (f32x4.mul (local.get $x) (local.get $b1))))
            (local.set $x (v128.load32_splat offset=8 (local.get $a)))
            (local.set $c20 (f32x4.add (local.get $c20) (f32x4.mul (local.get $x) (local.get $b0))))
            (local.set $c21 (f32x4.add (local.get $c21) (f32x4.mul (local.get $x) (local.get $b1))))
            (local.set $x (v128.load32_splat offset=12 (local.get $a)))
            (local.set $c30 (f32x4.add (local.get $c30) (f32x4.mul (local.get $x) (local.get $b0))))
            (local.set $c31 (f32x4.add (local.get $c31) (f32x4.mul (local.get $x) (local.get $b1))))
            (local.set $b (i32.add (local.get $b) (i32.const 32)))
            (br_if $inner (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 16))) (local.get $aEnd))))
          (local.set $a (local.get $s))
          (v128.store (local.get $a) (f32x4.add (v128.load (local.get $a)) (local.get $c00)))
          (v128.store offset=16 (local.get $a) (f32x4.add (v128.load offset=16 (local.get $a)) (local.get $c01)))
          (local.set $a (i32.add (local.get $a) (local.get $row)))
          (v128.store (local.get $a) (f32x4.add (v128.load (local.get $a)) (local.get $c10)))
          (v128.store offset=16 (local.get $a) (f32x4.add (v128.load offset=16 (local.get $a)) (local.get $c11)))
          (local.set $a (i32.add (local.get $a) (local.get $row)))
          (v128.store (local.get $a) (f32x4.add (v128.load (local.get $a)) (local.get $c20)))
          (v128.store offset=16 (local.get $a) (f32x4.add (v128.load offset=16 (local.get $a)) (local.get $c21)))
          (local.set $a (i32.add (local.get $a) (local.get $row)))
          (v128.store (local.get $a) (f32x4.add (v128.load (local.get $a)) (local.get $c30)))
          (v128.store offset=16 (local.get $a) (f32x4.add (v128.load offset=16 (local.get $a)) (local.get $c31)))
          (local.set $s (i32.add (local.get $s) (i32.const 32)))
          (br_if $eachPanel (local.tee $panel (i32.sub (local.get $panel) (i32.const 1)))))
        (local.set $sums (i32.add (local.get $sums) (i32.shl (local.get $row) (i32.const 2))))
        (local.set $delta (i32.add (local.get $delta) (i32.const 16)))
        (br_if $fours (i32.gt_s (local.tee $k (i32.sub (local.get $k) (i32.const 4))) (i32.const 0))))
      (br_if $eachRun (i32.lt_u (local.tee $run (i32.add (local.get $run) (i32.const 4))) (local.get $runEnd)))))
)

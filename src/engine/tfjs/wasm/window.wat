;; Windows over each channel by itself, in float32: depthwise convolution, its filter's gradient, and
;; max pooling. A table lists pairs of addresses (input row, output row), one pair for each output pixel
;; (see conv.wat); `taps` holds the distance in bytes of each of the window's pixels from the input row.
;; `bytes` is the size of a row of channels, a multiple of 16. Counts are at least 1.
;; Compile with: npm run wasm
(module
  (memory (import "env" "memory") 1)

  ;; out = sum over the taps of in * weights[tap]
  (func (export "depthwise") (param $table i32) (param $count i32) (param $weights i32)
        (param $taps i32) (param $tapCount i32) (param $bytes i32)
    (local $end i32) (local $tap i32) (local $tapEnd i32) (local $c i32) (local $in i32) (local $out i32) (local $w i32)
    (local $sum v128)
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (local.set $tapEnd (i32.add (local.get $taps) (i32.shl (local.get $tapCount) (i32.const 2))))
    (loop $pixels
      (local.set $in (i32.load (local.get $table)))
      (local.set $out (i32.load offset=4 (local.get $table)))
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $sum (v128.const i64x2 0 0))
        (local.set $w (i32.add (local.get $weights) (local.get $c)))
        (local.set $tap (local.get $taps))
        (loop $each
          (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul
            (v128.load (i32.add (i32.add (local.get $in) (local.get $c)) (i32.load (local.get $tap))))
            (v128.load (local.get $w)))))
          (local.set $w (i32.add (local.get $w) (local.get $bytes)))
          (br_if $each (i32.lt_u (local.tee $tap (i32.add (local.get $tap) (i32.const 4))) (local.get $tapEnd))))
        (v128.store (i32.add (local.get $out) (local.get $c)) (local.get $sum))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (br_if $pixels (i32.lt_u (local.tee $table (i32.add (local.get $table) (i32.const 8))) (local.get $end)))))

  ;; sums[tap] += sum over the pixels of in * out
  (func (export "correlateChannels") (param $sums i32) (param $table i32) (param $count i32)
        (param $taps i32) (param $tapCount i32) (param $bytes i32)
    (local $end i32) (local $pixel i32) (local $tapEnd i32) (local $c i32) (local $delta i32)
    (local $sum v128)
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (local.set $tapEnd (i32.add (local.get $taps) (i32.shl (local.get $tapCount) (i32.const 2))))
    (loop $each
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $sum (v128.const i64x2 0 0))
        (local.set $delta (i32.add (i32.load (local.get $taps)) (local.get $c)))
        (local.set $pixel (local.get $table))
        (loop $pixels
          (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul
            (v128.load (i32.add (i32.load (local.get $pixel)) (local.get $delta)))
            (v128.load (i32.add (i32.load offset=4 (local.get $pixel)) (local.get $c))))))
          (br_if $pixels (i32.lt_u (local.tee $pixel (i32.add (local.get $pixel) (i32.const 8))) (local.get $end))))
        (v128.store (local.get $sums) (f32x4.add (v128.load (local.get $sums)) (local.get $sum)))
        (local.set $sums (i32.add (local.get $sums) (i32.const 16)))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (br_if $each (i32.lt_u (local.tee $taps (i32.add (local.get $taps) (i32.const 4))) (local.get $tapEnd)))))

  ;; out = the largest of the window's inputs; NaN where one is.
  (func (export "maxPool") (param $table i32) (param $count i32) (param $taps i32) (param $tapCount i32) (param $bytes i32)
    (local $end i32) (local $tap i32) (local $tapEnd i32) (local $c i32) (local $in i32) (local $out i32)
    (local $max v128)
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (local.set $tapEnd (i32.add (local.get $taps) (i32.shl (local.get $tapCount) (i32.const 2))))
    (loop $pixels
      (local.set $in (i32.load (local.get $table)))
      (local.set $out (i32.load offset=4 (local.get $table)))
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $max (v128.const f32x4 -inf -inf -inf -inf))
        (local.set $tap (local.get $taps))
        (loop $each
          (local.set $max (f32x4.max (local.get $max)
            (v128.load (i32.add (i32.add (local.get $in) (local.get $c)) (i32.load (local.get $tap))))))
          (br_if $each (i32.lt_u (local.tee $tap (i32.add (local.get $tap) (i32.const 4))) (local.get $tapEnd))))
        (v128.store (i32.add (local.get $out) (local.get $c)) (local.get $max))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (br_if $pixels (i32.lt_u (local.tee $table (i32.add (local.get $table) (i32.const 8))) (local.get $end)))))

  ;; grad[tap] += dy for the first of the window's inputs that equals out. The gradient of an input, and
  ;; dy of an output, lie `toGrad` and `toDy` bytes behind them.
  (func (export "maxPoolGrad") (param $table i32) (param $count i32) (param $taps i32) (param $tapCount i32) (param $bytes i32)
        (param $toGrad i32) (param $toDy i32)
    (local $end i32) (local $tap i32) (local $tapEnd i32) (local $c i32) (local $in i32) (local $out i32) (local $p i32)
    (local $y v128) (local $dy v128) (local $hit v128)
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $count) (i32.const 3))))
    (local.set $tapEnd (i32.add (local.get $taps) (i32.shl (local.get $tapCount) (i32.const 2))))
    (loop $pixels
      (local.set $in (i32.load (local.get $table)))
      (local.set $out (i32.load offset=4 (local.get $table)))
      (local.set $c (i32.const 0))
      (loop $channels
        (local.set $p (i32.add (local.get $out) (local.get $c)))
        (local.set $y (v128.load (local.get $p)))
        (local.set $dy (v128.load (i32.add (local.get $p) (local.get $toDy))))
        (local.set $tap (local.get $taps))
        (loop $each
          (local.set $p (i32.add (i32.add (local.get $in) (local.get $c)) (i32.load (local.get $tap))))
          (local.set $hit (f32x4.eq (v128.load (local.get $p)) (local.get $y)))
          (local.set $p (i32.add (local.get $p) (local.get $toGrad)))
          (v128.store (local.get $p) (f32x4.add (v128.load (local.get $p)) (v128.and (local.get $dy) (local.get $hit))))
          ;; NaN equals nothing: what has been given away is not given again.
          (local.set $y (v128.or (local.get $y) (local.get $hit)))
          (br_if $each (i32.lt_u (local.tee $tap (i32.add (local.get $tap) (i32.const 4))) (local.get $tapEnd))))
        (br_if $channels (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 16))) (local.get $bytes))))
      (br_if $pixels (i32.lt_u (local.tee $table (i32.add (local.get $table) (i32.const 8))) (local.get $end)))))
)

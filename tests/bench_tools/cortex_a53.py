"""Latencies and throughputs of instructions, measured on a Raspberry Pi 3, whose core is the board's.

Source: github.com/ocxtal/insn_bench_aarch64, results/raspberry-pi-3_cortex-a53.md, whose names these are. A
latency is that of the chain: where it has two instructions, the source names the sum, too.
"""

from typing import NamedTuple


class Measured(NamedTuple):
    """What was measured of an instruction."""

    name: str
    latency: float | None
    """Cycles of one round of the chain."""
    throughput: float | None
    """Instructions in a cycle, if none needs the result of another."""
    code: int | None
    """An instruction whose result, if it has one, is in register 0, and whose sources are others."""
    chain: tuple[int, ...]
    """Instructions that need each other's results, and in the next round the last one's."""


# fmt: off
MEASURED = (
    # add x0, x16, x17 | add x0, x0, x1
    Measured("add (reg)", 1.0, 1.99, 0x8B110200, (0x8B010000,)),
    # add x0, x16, x17, lsl #2 | add x0, x0, x1, lsl #2
    Measured("add (reg<<2)", 2.01, 1.99, 0x8B110A00, (0x8B010800,)),
    # add x0, x16, #1 | add x0, x0, #1
    Measured("add (imm)", 1.0, 1.99, 0x91000600, (0x91000400,)),
    # adc x0, x16, x17 | adc x0, x0, x1
    Measured("adc", 1.0, 1.99, 0x9A110200, (0x9A010000,)),
    # adcs x0, x16, x17 | adcs x0, x0, x1
    Measured("adcs", 1.0, 0.99, 0xBA110200, (0xBA010000,)),
    # sub x0, x16, x17 | sub x0, x0, x1
    Measured("sub (reg)", 1.0, 1.99, 0xCB110200, (0xCB010000,)),
    # and x0, x16, #0xff0 | and x0, x0, #0xff0
    Measured("and (mask imm)", 1.0, 1.99, 0x927C1E00, (0x927C1C00,)),
    # eor x0, x16, x17, lsl #2 | eor x0, x0, x1, lsl #2
    Measured("eor (reg<<2)", 2.01, 1.99, 0xCA110A00, (0xCA010800,)),
    # movz x0, #0x1ffc
    Measured("mov / movz (imm; 0x1ffc)", None, 1.99, 0xD283FF80, ()),
    # adrp x0, 0
    Measured("adrp", None, 1.99, 0x90000000, ()),
    # csinc x0, x16, x17, eq | csinc x0, x0, x1, eq
    Measured("csinc (eq)", 1.0, 1.99, 0x9A910600, (0x9A810400,)),
    # ccmp x16, x17, #0, eq | ccmp x16, x17, #0, eq
    Measured("ccmp (reg; eq)", 1.0, 1.07, 0xFA510200, (0xFA510200,)),
    # lsl x0, x16, #3 | lsl x0, x0, #3
    Measured("lsl (imm)", 2.01, 1.99, 0xD37DF200, (0xD37DF000,)),
    # lsl x0, x16, x17 | lsl x0, x0, x1
    Measured("lsl (reg) / lslv", 1.0, 1.0, 0x9AD12200, (0x9AC12000,)),
    # extr x0, x16, x17, #17 | extr x0, x0, x1, #17
    Measured("extr (imm; >>17)", 2.01, 1.99, 0x93D14600, (0x93C14400,)),
    # bfi x0, x16, #3, #5 | bfi x0, x1, #3, #5
    Measured("bfi", 2.01, 1.99, 0xB37D1200, (0xB37D1020,)),
    # ubfx x0, x16, #3, #5 | ubfx x0, x0, #3, #5
    Measured("ubfx", 2.01, 1.99, 0xD3431E00, (0xD3431C00,)),
    # sxtw x0, w16 | sxtw x0, w0
    Measured("sxtw", 2.01, 1.99, 0x93407E00, (0x93407C00,)),
    # clz x0, x16 | clz x0, x0
    Measured("clz", 1.01, 1.99, 0xDAC01200, (0xDAC01000,)),
    # rev x0, x16 | rev x0, x0
    Measured("rev (rev64)", 2.01, 1.99, 0xDAC00E00, (0xDAC00C00,)),
    # rbit x0, x16 | rbit x0, x0
    Measured("rbit", 2.01, 1.99, 0xDAC00200, (0xDAC00000,)),
    # crc32x w0, w16, x17 | crc32x w0, w0, x1
    Measured("crc32x", 2.01, 1.99, 0x9AD14E00, (0x9AC14C00,)),
    # nop
    Measured("nop", None, 1.99, 0xD503201F, ()),
    # mul x0, x16, x17 | mul x0, x0, x1
    Measured("mul", 4.02, 0.5, 0x9B117E00, (0x9B017C00,)),
    # msub x0, x16, x17, x18 | msub x0, x1, x2, x0
    Measured("msub", 4.02, 0.5, 0x9B11CA00, (0x9B028020,)),
    # madd x0, x16, x17, x18 | madd x0, x1, x2, x0
    Measured("madd", 5.02, 0.33, 0x9B114A00, (0x9B020020,)),
    # smull x0, w16, w17 | smull x0, w0, w1
    Measured("smull", 3.01, 1.0, 0x9B317E00, (0x9B217C00,)),
    # umaddl x0, w16, w17, x18 | umaddl x0, w1, w2, x0
    Measured("umaddl", 3.01, 1.0, 0x9BB14A00, (0x9BA20020,)),
    # umulh x0, x16, x17 | umulh x0, x0, x1
    Measured("umulh", 6.03, 0.25, 0x9BD17E00, (0x9BC17C00,)),
    # smulh x0, x16, x17 | smulh x0, x0, x1
    Measured("smulh", 6.03, 0.25, 0x9B517E00, (0x9B417C00,)),
    # ldr x0, [x16] | ldr x0, [x0]
    Measured("ldr (imm; ofs = 0)", 3.02, 0.99, 0xF9400200, (0xF9400000,)),
    # ldr x0, [x16], #8
    Measured("ldr (imm; post, ofs = 0)", None, 1.0, 0xF8408600, ()),
    # ldr x0, [x16, x17, lsl #3] | ldr x0, [x1, x0, lsl #3]
    Measured("ldr (reg; <<3)", 3.01, 1.0, 0xF8717A00, (0xF8607820,)),
    # ldrb w0, [x16, x17] | ldrb w0, [x1, x0]
    Measured("ldrb (reg)", 4.02, 1.0, 0x38716A00, (0x38606820,)),
    # ldrsw x0, [x16, x17] | ldrsw x0, [x1, x0]
    Measured("ldrsw (reg)", 4.02, 0.99, 0xB8B16A00, (0xB8A06820,)),
    # ldrb w0, [x16] | ldrb w0, [x0]
    Measured("ldrb (imm; ofs = 0)", 4.02, 0.5, 0x39400200, (0x39400000,)),
    # ldp x0, x15, [x16] | ldp x0, x1, [x0]
    Measured("ldp (x; ofs = 0; 1st elem)", 3.01, 0.5, 0xA9403E00, (0xA9400400,)),
    # ldp x0, x15, [x16] | ldp x1, x0, [x0]
    Measured("ldp (x; ofs = 0; 2nd elem)", 4.02, 0.5, 0xA9403E00, (0xA9400001,)),
    # ldp w0, w15, [x16] | ldp w0, w1, [x0]
    Measured("ldp (w; ofs = 0; 1st elem)", 4.02, 0.33, 0x29403E00, (0x29400400,)),
    # ldr q0, [x16] | ldr q0, [x0]; fmov x0, d0
    Measured("ldr.q (imm; ofs = 0)", 7.05, 0.5, 0x3DC00200, (0x3DC00000, 0x9E660000)),
    # ldp q0, q15, [x16] | ldp q0, q1, [x0]; fmov x0, d0
    Measured("ldp.q (ofs = 0; 1st elem)", 8.05, 0.25, 0xAD403E00, (0xAD400400, 0x9E660000)),
    # ldp q0, q15, [x16] | ldp q1, q0, [x0]; fmov x0, d0
    Measured("ldp.q (ofs = 0; 2nd elem)", 9.06, 0.25, 0xAD403E00, (0xAD400001, 0x9E660000)),
    # ld1 {v0.4s}, [x16] | ld1 {v0.4s}, [x0]; fmov x0, d0
    Measured("ld1.s (multi; 1 reg)", 7.05, 0.5, 0x4C407A00, (0x4C407800, 0x9E660000)),
    # ld1 {v0.4s, v1.4s}, [x16] | ld1 {v0.4s, v1.4s}, [x0]; fmov x0, d1
    Measured("ld1.s (multi; 2 reg)", 9.06, 0.25, 0x4C40AA00, (0x4C40A800, 0x9E660020)),
    # ld1 {v0.4s, v1.4s, v2.4s}, [x16] | ld1 {v0.4s, v1.4s, v2.4s}, [x0]; fmov x0, d2
    Measured("ld1.s (multi; 3 reg)", 11.07, 0.17, 0x4C406A00, (0x4C406800, 0x9E660040)),
    # ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x16] | ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]; fmov x0, d3
    Measured("ld1.s (multi; 4 reg)", 13.08, 0.12, 0x4C402A00, (0x4C402800, 0x9E660060)),
    # ld2 {v0.16b, v1.16b}, [x16] | ld2 {v0.16b, v1.16b}, [x0]; fmov x0, d1
    Measured("ld2.b (multi)", 9.06, 0.25, 0x4C408200, (0x4C408000, 0x9E660020)),
    # ld4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x16]
    # ld4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0]; fmov x0, d3
    Measured("ld4.b (multi)", 14.08, 0.11, 0x4C400200, (0x4C400000, 0x9E660060)),
    # ld1 {v0.s}[3], [x16] | ld1 {v0.s}[3], [x0]; fmov x0, d0
    Measured("ld1.s (single; [3])", 6.05, 0.99, 0x4D409200, (0x4D409000, 0x9E660000)),
    # ld1r {v0.4s}, [x16] | ld1r {v0.4s}, [x0]; fmov x0, d0
    Measured("ld1r.s", 6.05, 0.99, 0x4D40CA00, (0x4D40C800, 0x9E660000)),
    # ld4r {v0.4s, v1.4s, v2.4s, v3.4s}, [x16] | ld4r {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]; fmov x0, d3
    Measured("ld4r.s", 7.05, 0.5, 0x4D60EA00, (0x4D60E800, 0x9E660060)),
    # str x0, [x16]
    Measured("str (imm; ofs = 0)", None, 1.0, 0xF9000200, ()),
    # stp x0, x15, [x16]
    Measured("stp (ofs = 0)", None, 1.0, 0xA9003E00, ()),
    # str q0, [x16]
    Measured("str.q (imm; ofs = 0)", None, 1.0, 0x3D800200, ()),
    # str q0, [x16], #16
    Measured("str.q (imm; post, ofs = 16)", None, 0.99, 0x3C810600, ()),
    # stp q0, q15, [x16]
    Measured("stp.q (ofs = 0)", None, 0.5, 0xAD003E00, ()),
    # st1 {v0.4s}, [x16]
    Measured("st1.s (multi)", None, 1.0, 0x4C007A00, ()),
    # st4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x16]
    Measured("st4.b (multi)", None, 0.2, 0x4C000200, ()),
    # ldr x0, [x16]; str x0, [x16]
    Measured("str -> ldr (ofs = 0 -> ofs = 0)", 3.01, None, None, (0xF9400200, 0xF9000200)),
    # ldr q0, [x16]; str q0, [x16]
    Measured("str.q -> ldr.q (ofs = 0 -> ofs = 0)", 5.02, None, None, (0x3DC00200, 0x3D800200)),
    # cbz x0, 4 | cbz x0, 4
    Measured("cbz (pc+4; not taken)", 1.01, 0.99, 0xB4000020, (0xB4000020,)),
    # tbz x0, #3, 4 | tbz x0, #3, 4
    Measured("tbz (pc+4; not taken)", 1.01, 0.99, 0x36180020, (0x36180020,)),
    # b.eq 4 | adds x0, x16, x17; b.eq 4
    Measured("adds -> b.eq (pc+4; not taken)", 1.01, 0.99, 0x54000020, (0xAB110200, 0x54000020)),
    # b 4 | b 4
    Measured("b (pc+4)", 3.03, 0.33, 0x14000001, (0x14000001,)),
    # movi v0.16b, #0
    Measured("movi.b (0x00)", None, 0.99, 0x4F00E400, ()),
    # eor v0.16b, v16.16b, v17.16b | eor v0.16b, v0.16b, v1.16b
    Measured("eor.b (clearing idiom)", 1.01, 0.99, 0x6E311E00, (0x6E211C00,)),
    # add v0.16b, v16.16b, v17.16b | add v0.16b, v0.16b, v1.16b
    Measured("add.b", 2.01, 0.99, 0x4E318600, (0x4E218400,)),
    # sqadd v0.4s, v16.4s, v17.4s | sqadd v0.4s, v0.4s, v1.4s
    Measured("sqadd.s", 3.01, 0.99, 0x4EB10E00, (0x4EA10C00,)),
    # abs v0.4s, v16.4s | abs v0.4s, v0.4s
    Measured("abs.s", 3.01, 0.99, 0x4EA0BA00, (0x4EA0B800,)),
    # neg v0.4s, v16.4s | neg v0.4s, v0.4s
    Measured("neg.s", 2.01, 0.99, 0x6EA0BA00, (0x6EA0B800,)),
    # saddl v0.4s, v16.4h, v17.4h | saddl v0.4s, v0.4h, v1.4h
    Measured("saddl.h", 3.01, 0.99, 0x0E710200, (0x0E610000,)),
    # saddlp v0.4s, v16.8h | saddlp v0.4s, v0.8h
    Measured("saddlp.h", 3.01, 0.99, 0x4E602A00, (0x4E602800,)),
    # addp v0.4s, v16.4s, v17.4s | addp v0.4s, v0.4s, v1.4s
    Measured("addp.s", 3.01, 1.0, 0x4EB1BE00, (0x4EA1BC00,)),
    # addv s0, v16.4s | addv s0, v0.4s
    Measured("addv.s", 3.01, 0.99, 0x4EB1BA00, (0x4EB1B800,)),
    # smax v0.4s, v16.4s, v17.4s | smax v0.4s, v0.4s, v1.4s
    Measured("smax.s", 2.01, 0.99, 0x4EB16600, (0x4EA16400,)),
    # smaxv s0, v16.4s | smaxv s0, v0.4s
    Measured("smaxv.s", 4.02, 0.99, 0x4EB0AA00, (0x4EB0A800,)),
    # sabd v0.16b, v16.16b, v17.16b | sabd v0.16b, v0.16b, v1.16b
    Measured("sabd.b", 3.01, 0.99, 0x4E317600, (0x4E217400,)),
    # saba v0.16b, v16.16b, v17.16b | saba v0.16b, v0.16b, v1.16b
    Measured("saba.b", 4.02, 0.5, 0x4E317E00, (0x4E217C00,)),
    # saba v0.16b, v1.16b, v2.16b
    Measured("saba.b (acc. fwd.)", 2.02, None, None, (0x4E227C20,)),
    # mul v0.4s, v16.4s, v17.4s | mul v0.4s, v0.4s, v1.4s
    Measured("mul.s (vec)", 4.02, 0.99, 0x4EB19E00, (0x4EA19C00,)),
    # mul v0.8h, v16.8h, v15.h[7] | mul v0.8h, v0.8h, v1.h[7]
    Measured("mul.h (elem; [7])", 4.02, 0.99, 0x4F7F8A00, (0x4F718800,)),
    # smull v0.8h, v16.8b, v17.8b | smull v0.8h, v0.8b, v1.8b
    Measured("smull.b (vec)", 4.02, 0.99, 0x0E31C200, (0x0E21C000,)),
    # smull2 v0.8h, v16.16b, v17.16b | smull2 v0.8h, v0.16b, v1.16b
    Measured("smull2.b (vec)", 4.02, 0.99, 0x4E31C200, (0x4E21C000,)),
    # mla v0.4s, v16.4s, v17.4s | mla v0.4s, v0.4s, v1.4s
    Measured("mla.s (vec)", 4.02, 0.99, 0x4EB19600, (0x4EA19400,)),
    # mla v0.4s, v1.4s, v2.4s
    Measured("mla.s (vec; acc. fwd.)", 1.03, None, None, (0x4EA29420,)),
    # smlal v0.4s, v16.4h, v17.4h | smlal v0.4s, v0.4h, v1.4h
    Measured("smlal.h (vec)", 4.02, 0.99, 0x0E718200, (0x0E618000,)),
    # smlal v0.4s, v1.4h, v2.4h
    Measured("smlal.h (vec; acc. fwd.)", 1.03, None, None, (0x0E628020,)),
    # smlal v0.4s, v16.4h, v15.h[7] | smlal v0.4s, v0.4h, v1.h[7]
    Measured("smlal.h (elem; v.h[7])", 4.02, 0.99, 0x0F7F2A00, (0x0F712800,)),
    # sqdmlal v0.4s, v1.4h, v2.4h
    Measured("sqdmlal.h (vec; acc. fwd.)", 4.02, None, None, (0x0E629020,)),
    # sshr v0.4s, v16.4s, #2 | sshr v0.4s, v0.4s, #2
    Measured("sshr.s (imm; >>2)", 2.01, 0.99, 0x4F3E0600, (0x4F3E0400,)),
    # srshr v0.4s, v16.4s, #2 | srshr v0.4s, v0.4s, #2
    Measured("srshr.s (imm; >>2)", 3.01, 0.99, 0x4F3E2600, (0x4F3E2400,)),
    # ssra v0.4s, v16.4s, #2 | ssra v0.4s, v0.4s, #2
    Measured("ssra.s (imm; >>2)", 3.01, 0.99, 0x4F3E1600, (0x4F3E1400,)),
    # sshll v0.4s, v16.4h, #2 | sshll v0.4s, v0.4h, #2
    Measured("sshll.h (<<2)", 2.01, 0.99, 0x0F12A600, (0x0F12A400,)),
    # xtn v0.4h, v16.4s | xtn v0.4h, v0.4s
    Measured("xtn.s", 2.01, 1.99, 0x0E612A00, (0x0E612800,)),
    # sqxtn v0.4h, v16.4s | sqxtn v0.4h, v0.4s
    Measured("sqxtn.s (vec)", 4.02, 1.99, 0x0E614A00, (0x0E614800,)),
    # shrn v0.4h, v16.4s, #2 | shrn v0.4h, v0.4s, #2
    Measured("shrn.s (>>2)", 2.01, 1.99, 0x0F1E8600, (0x0F1E8400,)),
    # sqrshrn v0.4h, v16.4s, #2 | sqrshrn v0.4h, v0.4s, #2
    Measured("sqrshrn.s (>>2)", 4.02, 1.99, 0x0F1E9E00, (0x0F1E9C00,)),
    # cmeq v0.4s, v16.4s, v17.4s | cmeq v0.4s, v0.4s, v1.4s
    Measured("cmeq.s (reg)", 2.01, 0.99, 0x6EB18E00, (0x6EA18C00,)),
    # cmtst v0.4s, v16.4s, v17.4s | cmtst v0.4s, v0.4s, v1.4s
    Measured("cmtst.s (reg)", 3.01, 0.99, 0x4EB18E00, (0x4EA18C00,)),
    # dup v0.4s, v16.s[3] | dup v0.4s, v0.s[3]
    Measured("dup.s (vec; lane = 3)", 2.01, 0.99, 0x4E1C0600, (0x4E1C0400,)),
    # ext v0.16b, v16.16b, v17.16b, #1 | ext v0.16b, v0.16b, v1.16b, #1
    Measured("ext.b (>>1)", 2.01, 0.99, 0x6E110A00, (0x6E010800,)),
    # zip1 v0.4s, v16.4s, v17.4s | zip1 v0.4s, v0.4s, v1.4s
    Measured("zip1.s", 2.01, 0.99, 0x4E913A00, (0x4E813800,)),
    # trn1 v0.4s, v16.4s, v17.4s | trn1 v0.4s, v0.4s, v1.4s
    Measured("trn1.s", 2.01, 0.99, 0x4E912A00, (0x4E812800,)),
    # tbl v0.16b, {v16.16b}, v17.16b | tbl v0.16b, {v0.16b}, v1.16b
    Measured("tbl (len == 1)", 2.01, 0.99, 0x4E110200, (0x4E010000,)),
    # tbl v0.16b, {v16.16b, v17.16b}, v18.16b | tbl v0.16b, {v0.16b, v1.16b}, v2.16b
    Measured("tbl (len == 2)", 3.01, 0.5, 0x4E122200, (0x4E022000,)),
    # tbx v0.16b, {v16.16b}, v17.16b | tbx v0.16b, {v0.16b}, v1.16b
    Measured("tbx (len == 1)", 3.01, 0.5, 0x4E111200, (0x4E011000,)),
    # fadd s0, s16, s17 | fadd s0, s0, s1
    Measured("fadd.s (scl)", 4.02, 1.99, 0x1E312A00, (0x1E212800,)),
    # fadd v0.4s, v16.4s, v17.4s | fadd v0.4s, v0.4s, v1.4s
    Measured("fadd.s (vec)", 4.02, 0.99, 0x4E31D600, (0x4E21D400,)),
    # fmul s0, s16, s17 | fmul s0, s0, s1
    Measured("fmul.s (scl)", 4.02, 1.99, 0x1E310A00, (0x1E210800,)),
    # fmul v0.4s, v16.4s, v17.4s | fmul v0.4s, v0.4s, v1.4s
    Measured("fmul.s (vec)", 4.02, 0.99, 0x6E31DE00, (0x6E21DC00,)),
    # fmla v0.4s, v16.4s, v17.4s | fmla v0.4s, v0.4s, v1.4s
    Measured("fmla.s (vec)", 8.04, 0.99, 0x4E31CE00, (0x4E21CC00,)),
    # fmla v0.4s, v1.4s, v2.4s
    Measured("fmla.s (vec; acc. fwd.)", 4.02, None, None, (0x4E22CC20,)),
    # fmla v0.4s, v16.4s, v17.s[3] | fmla v0.4s, v0.4s, v1.s[3]
    Measured("fmla.s (elem; [3])", 8.04, 0.99, 0x4FB11A00, (0x4FA11800,)),
    # fmadd s0, s16, s17, s18 | fmadd s0, s0, s1, s2
    Measured("fmadd.s", 8.04, 1.99, 0x1F114A00, (0x1F010800,)),
    # fmadd s0, s1, s2, s0
    Measured("fmadd.s (acc. fwd.)", 4.02, None, None, (0x1F020020,)),
    # frecps v0.4s, v16.4s, v17.4s | frecps v0.4s, v0.4s, v1.4s
    Measured("frecps.s (vec)", 8.04, 0.99, 0x4E31FE00, (0x4E21FC00,)),
    # fmax v0.4s, v16.4s, v17.4s | fmax v0.4s, v0.4s, v1.4s
    Measured("fmax.s (vec)", 4.02, 0.99, 0x4E31F600, (0x4E21F400,)),
    # fabs s0, s16 | fabs s0, s0
    Measured("fabs.s (scl)", 4.02, 1.99, 0x1E20C200, (0x1E20C000,)),
    # fneg v0.4s, v16.4s | fneg v0.4s, v0.4s
    Measured("fneg.s (vec)", 4.02, 0.99, 0x6EA0FA00, (0x6EA0F800,)),
    # fcmge v0.4s, v16.4s, v17.4s | fcmge v0.4s, v0.4s, v1.4s
    Measured("fcmge.s (vec)", 2.01, 0.99, 0x6E31E600, (0x6E21E400,)),
    # fcmp s16, s17
    Measured("fcmp.s (reg)", None, 0.99, 0x1E312200, ()),
    # fcsel s0, s16, s17, eq | fcsel s0, s0, s1, eq
    Measured("fcsel.s (eq)", 2.01, 0.99, 0x1E310E00, (0x1E210C00,)),
    # fsqrt s0, s16 | fsqrt s0, s0
    Measured("fsqrt.s (scl)", 12.05, 0.11, 0x1E21C200, (0x1E21C000,)),
    # fsqrt v0.4s, v16.4s | fsqrt v0.4s, v0.4s
    Measured("fsqrt.s (vec)", 12.05, 0.11, 0x6EA1FA00, (0x6EA1F800,)),
    # fsqrt d0, d16 | fsqrt d0, d0
    Measured("fsqrt.d (scl)", 22.1, 0.05, 0x1E61C200, (0x1E61C000,)),
    # scvtf v0.4s, v16.4s | scvtf v0.4s, v0.4s
    Measured("scvtf.s (vec; int)", 4.02, 0.99, 0x4E21DA00, (0x4E21D800,)),
    # fcvt d0, s16 | fcvt s0, d0
    Measured("fcvt (s -> d)", 4.02, 1.99, 0x1E22C200, (0x1E624000,)),
    # fcvtn v0.2s, v16.2d | fcvtn v0.2s, v0.2d
    Measured("fcvtn (d -> s)", 4.02, 0.99, 0x0E616A00, (0x0E616800,)),
    # fcvtas v0.4s, v16.4s | fcvtas v0.4s, v0.4s
    Measured("fcvtas.s (vec)", 4.02, 0.99, 0x4E21CA00, (0x4E21C800,)),
    # frinta v0.4s, v16.4s | frinta v0.4s, v0.4s
    Measured("frinta.s (vec)", 4.02, 0.99, 0x6E218A00, (0x6E218800,)),
    # umov w0, v0.s[0]; ins v0.s[0], w0
    Measured("umov.s (v.s[0] <-> w)", 5.02, None, None, (0x0E043C00, 0x4E041C00)),
    # and v0.16b, v16.16b, v17.16b | and v0.16b, v0.16b, v1.16b
    Measured("and.b", 1.01, 0.99, 0x4E311E00, (0x4E211C00,)),
    # orr v0.16b, v16.16b, v17.16b | orr v0.16b, v0.16b, v1.16b
    Measured("orr.b", 1.01, 0.99, 0x4EB11E00, (0x4EA11C00,)),
    # orn v0.16b, v16.16b, v17.16b | orn v0.16b, v0.16b, v1.16b
    Measured("orn.b", 1.01, 0.99, 0x4EF11E00, (0x4EE11C00,)),
    # bic v0.16b, v16.16b, v17.16b | bic v0.16b, v0.16b, v1.16b
    Measured("bic.b (reg)", 1.01, 0.99, 0x4E711E00, (0x4E611C00,)),
    # bsl v0.16b, v16.16b, v17.16b | bsl v0.16b, v0.16b, v1.16b
    Measured("bsl.b", 2.01, 0.99, 0x6E711E00, (0x6E611C00,)),
    # bit v0.16b, v16.16b, v17.16b | bit v0.16b, v0.16b, v1.16b
    Measured("bit.b", 2.01, 0.99, 0x6EB11E00, (0x6EA11C00,)),
    # bif v0.16b, v16.16b, v17.16b | bif v0.16b, v0.16b, v1.16b
    Measured("bif.b", 2.01, 0.99, 0x6EF11E00, (0x6EE11C00,)),
    # mvn v0.16b, v16.16b | mvn v0.16b, v0.16b
    Measured("mvn.b", 1.01, 0.99, 0x6E205A00, (0x6E205800,)),
    # rbit v0.16b, v16.16b | rbit v0.16b, v0.16b
    Measured("rbit.b", 2.01, 0.99, 0x6E605A00, (0x6E605800,)),
    # rev64 v0.4s, v16.4s | rev64 v0.4s, v0.4s
    Measured("rev64.s", 2.01, 0.99, 0x4EA00A00, (0x4EA00800,)),
    # cls v0.4s, v16.4s | cls v0.4s, v0.4s
    Measured("cls.s", 3.01, 0.99, 0x4EA04A00, (0x4EA04800,)),
    # clz v0.4s, v16.4s | clz v0.4s, v0.4s
    Measured("clz.s", 2.01, 0.99, 0x6EA04A00, (0x6EA04800,)),
    # cnt v0.16b, v16.16b | cnt v0.16b, v0.16b
    Measured("cnt.b", 2.01, 0.99, 0x4E205A00, (0x4E205800,)),
    # shl v0.4s, v16.4s, #2 | shl v0.4s, v0.4s, #2
    Measured("shl.s (imm; <<2)", 2.01, 0.99, 0x4F225600, (0x4F225400,)),
    # sshl v0.4s, v16.4s, v17.4s | sshl v0.4s, v0.4s, v1.4s
    Measured("sshl.s (reg)", 2.01, 0.99, 0x4EB14600, (0x4EA14400,)),
    # sqshl v0.4s, v16.4s, #2 | sqshl v0.4s, v0.4s, #2
    Measured("sqshl.s (imm; <<2)", 4.02, 0.99, 0x4F227600, (0x4F227400,)),
    # sqshl v0.4s, v16.4s, v17.4s | sqshl v0.4s, v0.4s, v1.4s
    Measured("sqshl.s (reg; <<2)", 4.02, 0.99, 0x4EB14E00, (0x4EA14C00,)),
    # sqshlu v0.4s, v16.4s, #2 | sqshlu v0.4s, v0.4s, #2
    Measured("sqshlu.s (<<2)", 4.02, 0.99, 0x6F226600, (0x6F226400,)),
    # srshl v0.4s, v16.4s, v17.4s | srshl v0.4s, v0.4s, v1.4s
    Measured("srshl.s (reg)", 3.01, 0.99, 0x4EB15600, (0x4EA15400,)),
    # sqrshl v0.4s, v16.4s, v17.4s | sqrshl v0.4s, v0.4s, v1.4s
    Measured("sqrshl.s", 4.02, 0.99, 0x4EB15E00, (0x4EA15C00,)),
    # srsra v0.4s, v16.4s, #2 | srsra v0.4s, v0.4s, #2
    Measured("srsra.s (imm; >>2)", 4.02, 0.5, 0x4F3E3600, (0x4F3E3400,)),
    # sli v0.4s, v16.4s, #2 | sli v0.4s, v0.4s, #2
    Measured("sli.s (vec; <<2)", 2.01, 0.99, 0x6F225600, (0x6F225400,)),
    # sri v0.4s, v16.4s, #2 | sri v0.4s, v0.4s, #2
    Measured("sri.s (vec; >>2)", 2.01, 0.99, 0x6F3E4600, (0x6F3E4400,)),
    # rshrn v0.4h, v16.4s, #2 | rshrn v0.4h, v0.4s, #2
    Measured("rshrn.s (>>2)", 3.01, 1.99, 0x0F1E8E00, (0x0F1E8C00,)),
    # sqshrun v0.4h, v16.4s, #2 | sqshrun v0.4h, v0.4s, #2
    Measured("sqshrun.s (>>2)", 4.02, 1.99, 0x2F1E8600, (0x2F1E8400,)),
    # urecpe v0.4s, v16.4s | urecpe v0.4s, v0.4s
    Measured("urecpe.s", 4.02, 0.99, 0x4EA1CA00, (0x4EA1C800,)),
    # sqabs v0.4s, v16.4s | sqabs v0.4s, v0.4s
    Measured("sqabs.s", 4.02, 0.99, 0x4EA07A00, (0x4EA07800,)),
    # sqneg v0.4s, v16.4s | sqneg v0.4s, v0.4s
    Measured("sqneg.s", 3.01, 0.99, 0x6EA07A00, (0x6EA07800,)),
    # suqadd v0.4s, v16.4s | suqadd v0.4s, v0.4s
    Measured("suqadd.s (vec)", 3.01, 0.99, 0x4EA03A00, (0x4EA03800,)),
    # sadalp v0.2d, v16.4s | sadalp v0.2d, v0.4s
    Measured("sadalp.s", 4.02, 0.5, 0x4EA06A00, (0x4EA06800,)),
    # pmul v0.16b, v16.16b, v17.16b | pmul v0.16b, v0.16b, v1.16b
    Measured("pmul.b", 3.01, 0.99, 0x6E319E00, (0x6E219C00,)),
    # sqdmulh v0.4s, v16.4s, v17.4s | sqdmulh v0.4s, v0.4s, v1.4s
    Measured("sqdmulh.s (vec)", 4.02, 0.99, 0x4EB1B600, (0x4EA1B400,)),
    # shadd v0.4s, v16.4s, v17.4s | shadd v0.4s, v0.4s, v1.4s
    Measured("shadd.s", 2.01, 0.99, 0x4EB10600, (0x4EA10400,)),
    # srhadd v0.4s, v16.4s, v17.4s | srhadd v0.4s, v0.4s, v1.4s
    Measured("srhadd.s", 2.01, 0.99, 0x4EB11600, (0x4EA11400,)),
    # smaxp v0.4s, v16.4s, v17.4s | smaxp v0.4s, v0.4s, v1.4s
    Measured("smaxp.s", 2.01, 0.99, 0x4EB1A600, (0x4EA1A400,)),
    # cmhi v0.4s, v16.4s, v17.4s | cmhi v0.4s, v0.4s, v1.4s
    Measured("cmhi.s (reg)", 2.01, 0.99, 0x6EB13600, (0x6EA13400,)),
    # cmgt v0.4s, v16.4s, #0 | cmgt v0.4s, v0.4s, #0
    Measured("cmgt.s (zero)", 2.01, 0.99, 0x4EA08A00, (0x4EA08800,)),
    # addhn v0.4h, v16.4s, v17.4s | addhn v0.4h, v0.4s, v1.4s
    Measured("addhn.s", 3.01, 0.99, 0x0E714200, (0x0E614000,)),
    # raddhn v0.4h, v16.4s, v17.4s | raddhn v0.4h, v0.4s, v1.4s
    Measured("raddhn.s", 4.02, 0.5, 0x2E714200, (0x2E614000,)),
    # saddw v0.4s, v16.4s, v17.4h | saddw v0.4s, v0.4s, v1.4h
    Measured("saddw.s", 3.01, 0.99, 0x0E711200, (0x0E611000,)),
    # sabdl v0.2d, v16.2s, v17.2s | sabdl v0.2d, v0.2s, v1.2s
    Measured("sabdl.s", 3.01, 0.99, 0x0EB17200, (0x0EA17000,)),
    # sabal v0.8h, v16.8b, v17.8b | sabal v0.8h, v0.8b, v1.8b
    Measured("sabal.b", 4.02, 0.5, 0x0E315200, (0x0E215000,)),
    # pmull v0.8h, v16.8b, v17.8b | pmull v0.8h, v0.8b, v1.8b
    Measured("pmull.b", 3.01, 0.99, 0x0E31E200, (0x0E21E000,)),
    # sqdmull v0.2d, v16.2s, v17.2s | sqdmull v0.2d, v0.2s, v1.2s
    Measured("sqdmull.s (vec)", 4.02, 0.99, 0x0EB1D200, (0x0EA1D000,)),
    # saddlv d0, v16.4s | saddlv d0, v0.4s
    Measured("saddlv.s", 3.01, 0.99, 0x4EB03A00, (0x4EB03800,)),
    # shll v0.4s, v16.4h, #16 | shll v0.4s, v0.4h, #16
    Measured("shll.h (<<16)", 2.01, 0.99, 0x2E613A00, (0x2E613800,)),
    # sqxtun v0.4h, v16.4s | sqxtun v0.4h, v0.4s
    Measured("sqxtun.s (vec)", 4.02, 1.99, 0x2E612A00, (0x2E612800,)),
    # dup s0, v16.s[1]
    Measured("dup.s (elem)", None, 1.99, 0x5E0C0600, ()),
    # fabd v0.4s, v16.4s, v17.4s | fabd v0.4s, v0.4s, v1.4s
    Measured("fabd.s (vec)", 4.02, 0.99, 0x6EB1D600, (0x6EA1D400,)),
    # faddp v0.4s, v16.4s, v17.4s | faddp v0.4s, v0.4s, v1.4s
    Measured("faddp.s (vec)", 4.02, 0.99, 0x6E31D600, (0x6E21D400,)),
    # fmaxnm v0.4s, v16.4s, v17.4s | fmaxnm v0.4s, v0.4s, v1.4s
    Measured("fmaxnm.s (vec)", 4.02, 0.99, 0x4E31C600, (0x4E21C400,)),
    # fmulx v0.4s, v16.4s, v17.4s | fmulx v0.4s, v0.4s, v1.4s
    Measured("fmulx.s (vec)", 4.02, 0.99, 0x4E31DE00, (0x4E21DC00,)),
    # fminp v0.4s, v16.4s, v17.4s | fminp v0.4s, v0.4s, v1.4s
    Measured("fminp.s (vec)", 4.02, 0.99, 0x6EB1F600, (0x6EA1F400,)),
    # fcmeq v0.4s, v16.4s, #0.0 | fcmeq v0.4s, v0.4s, #0.0
    Measured("fcmeq.s (vec; zero)", 2.01, 0.99, 0x4EA0DA00, (0x4EA0D800,)),
    # facge v0.4s, v16.4s, v17.4s | facge v0.4s, v0.4s, v1.4s
    Measured("facge.s (vec)", 2.01, 0.99, 0x6E31EE00, (0x6E21EC00,)),
    # facge s0, s16, s17 | facge s0, s0, s1
    Measured("facge.s (scl)", 2.01, 1.99, 0x7E31EE00, (0x7E21EC00,)),
    # faddp s0, v16.2s | faddp s0, v0.2s
    Measured("faddp.s (scl)", 4.02, 1.99, 0x7E30DA00, (0x7E30D800,)),
    # fmaxp s0, v16.2s | fmaxp s0, v0.2s
    Measured("fmaxp.s (scl)", 4.02, 0.99, 0x7E30FA00, (0x7E30F800,)),
    # fmaxv s0, v16.4s | fmaxv s0, v0.4s
    Measured("fmaxv.s", 4.02, 0.99, 0x6E30FA00, (0x6E30F800,)),
    # frecpe v0.4s, v16.4s | frecpe v0.4s, v0.4s
    Measured("frecpe.s (vec)", 4.02, 0.99, 0x4EA1DA00, (0x4EA1D800,)),
    # frsqrte v0.4s, v16.4s | frsqrte v0.4s, v0.4s
    Measured("frsqrte.s (vec)", 4.02, 0.99, 0x6EA1DA00, (0x6EA1D800,)),
    # frsqrts s0, s16, s17 | frsqrts s0, s0, s1
    Measured("frsqrts.s (scl)", 8.04, 1.99, 0x5EB1FE00, (0x5EA1FC00,)),
    # fcvtl v0.2d, v16.2s | fcvtl v0.2d, v0.2s
    Measured("fcvtl (s -> d)", 4.02, 0.99, 0x0E617A00, (0x0E617800,)),
    # frintz s0, s16 | frintz s0, s0
    Measured("frintz.s (scl)", 4.02, 1.99, 0x1E25C200, (0x1E25C000,)),
    # scvtf v0.4s, v16.4s, #2 | scvtf v0.4s, v0.4s, #2
    Measured("scvtf.s (vec; >>2)", 4.02, 0.99, 0x4F3EE600, (0x4F3EE400,)),
    # fcvtas w0, s16
    Measured("fcvtas.s (scl -> reg)", None, 1.99, 0x1E240200, ()),
    # scvtf s0, w16
    Measured("scvtf.s (scl; int)", None, 1.99, 0x1E220200, ()),
    # ld3 {v0.4s, v1.4s, v2.4s}, [x16] | ld3 {v0.4s, v1.4s, v2.4s}, [x0]; fmov x0, d2
    Measured("ld3.s (multi)", 11.07, 0.17, 0x4C404A00, (0x4C404800, 0x9E660040)),
    # ld2 {v0.2d, v1.2d}, [x16] | ld2 {v0.2d, v1.2d}, [x0]; fmov x0, d1
    Measured("ld2.d (multi)", 9.06, 0.25, 0x4C408E00, (0x4C408C00, 0x9E660020)),
    # ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x16] | ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]; fmov x0, d3
    Measured("ld4.s (multi)", 13.08, 0.12, 0x4C400A00, (0x4C400800, 0x9E660060)),
    # st2 {v0.16b, v1.16b}, [x16]
    Measured("st2.b (multi)", None, 0.5, 0x4C008200, ()),
    # st3 {v0.16b, v1.16b, v2.16b}, [x16]
    Measured("st3.b (multi)", None, 0.25, 0x4C004200, ()),
    # st3 {v0.4s, v1.4s, v2.4s}, [x16]
    Measured("st3.s (multi)", None, 0.25, 0x4C004A00, ()),
    # st1 {v0.s}[3], [x16]
    Measured("st1.s (single; [3])", None, 0.99, 0x4D009200, ()),
    # st4 {v0.s, v1.s, v2.s, v3.s}[3], [x16]
    Measured("st4.s (single; [3])", None, 0.5, 0x4D20B200, ()),
    # fccmp s16, s17, #0, eq | fccmp s0, s1, #0, eq
    Measured("fccmp.s (eq)", 1.0, 0.99, 0x1E310600, (0x1E210400,)),
    # fmul d0, d16, d17 | fmul d0, d0, d1
    Measured("fmul.d (scl)", 4.02, 1.99, 0x1E710A00, (0x1E610800,)),
    # mneg x0, x16, x17 | mneg x0, x0, x1
    Measured("mneg", 5.02, 0.33, 0x9B11FE00, (0x9B01FC00,)),
    # rev16 x0, x16 | rev16 x0, x0
    Measured("rev (rev16)", 2.01, 1.99, 0xDAC00600, (0xDAC00400,)),
    # cls x0, x16 | cls x0, x0
    Measured("cls", 1.0, 1.99, 0xDAC01600, (0xDAC01400,)),
    # bics x0, x16, x17 | bics x0, x0, x1
    Measured("bics (reg)", 1.0, 1.99, 0xEA310200, (0xEA210000,)),
    # udiv x0, x16, x17 | udiv x0, x0, x1
    Measured("udiv", 3.01, 0.33, 0x9AD10A00, (0x9AC10800,)),
    # tst x16, x17
    Measured("tst (reg)", None, 1.07, 0xEA11021F, ()),
    # stur x0, [x16, #4]
    Measured("stur (imm; ofs = 0)", None, 1.0, 0xF8004200, ()),
    # ldur x0, [x16, #16] | ldur x0, [x0, #16]
    Measured("ldur (ofs = 16)", 3.01, 1.0, 0xF8410200, (0xF8410000,)),
    # ldr x0, [x16, #8]!
    Measured("ldr (imm; pre, ofs = 0)", None, 1.0, 0xF8408E00, ()),
    # ldr x0, 8
    Measured("ldr (literal)", None, 0.66, 0x58000040, ()),
)

/* The hook's x264 side. No line of x264 changes: the linker's --wrap puts these functions between its program and its
 * library, and QP offsets take the library's own way, x264_picture_t.prop.quant_offsets.
 *
 * x264 adds a quantiser offset only while adaptive quantisation is on, which constant-QP coding (--qp) turns off. The
 * driver therefore codes at --crf with --qcomp 1 and an --aq-strength too small to move a QP, in every arm. */
#include "mrdo_hook.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <x264.h>

#define MRDO_X264_TEXT_(x) #x
#define MRDO_X264_TEXT(x) MRDO_X264_TEXT_(x)

extern "C" {
int __real_main(int argc, char **argv);
int __real_x264_encoder_encode(x264_t *h, x264_nal_t **nal, int *nals, x264_picture_t *in, x264_picture_t *out);
void __real_x264_encoder_close(x264_t *h);
}

namespace {

const uint32_t MB = 16;

uint32_t chromaFormat(int csp)
{
    switch (csp & X264_CSP_MASK)
    {
    case X264_CSP_I400: return 0;
    case X264_CSP_I422:
    case X264_CSP_YV16:
    case X264_CSP_NV16: return 2;
    case X264_CSP_I444:
    case X264_CSP_YV24: return 3;
    default: return 1;
    }
}

class Hook
{
public:
    explicit Hook(x264_t *h) : m_count(0)
    {
        x264_encoder_parameters(h, &m_param);
        mrdo_encoder_info info;
        memset(&info, 0, sizeof(info));
        info.struct_size = sizeof(info);
        info.width = m_param.i_width;
        info.height = m_param.i_height;
        info.chroma_format_idc = chromaFormat(m_param.i_csp);
        info.bit_depth = m_param.i_bitdepth;
        info.ctu_size = info.min_cu_size = MB;
        info.fps_num = m_param.i_fps_num;
        info.fps_den = m_param.i_fps_den;
        info.encoder = "x264";
        info.version = "0." MRDO_X264_TEXT(X264_BUILD);
        m_plugin.open(info);
        if (m_plugin.active() && m_param.b_interlaced)
            mrdo::die("QP offsets for interlaced pictures; leave --tff, --bff and --fake-interlaced out");
    }

    bool active() const { return m_plugin.active(); }

    /* Offsets of the picture about to be read, or NULL; they live until the next call. */
    float *begin(x264_picture_t &picture)
    {
        mrdo_frame frame;
        memset(&frame, 0, sizeof(frame));
        frame.struct_size = sizeof(frame);
        frame.poc = m_count++;
        picture.opaque = (void *)(intptr_t)m_count;
        describe(frame);
        mrdo_side_info answer;
        m_plugin.begin(frame, answer);
        const mrdo::SideMap side(m_plugin.encoder(), answer);
        refuseUnsupported(side);
        return side.hasQp() ? offsets(side) : NULL;
    }

    void end(const x264_picture_t &picture, int bytes)
    {
        mrdo_frame_result result;
        memset(&result, 0, sizeof(result));
        result.struct_size = sizeof(result);
        result.slice_type = IS_X264_TYPE_I(picture.i_type) ? MRDO_SLICE_I
                          : IS_X264_TYPE_B(picture.i_type) ? MRDO_SLICE_B : MRDO_SLICE_P;
        result.poc = (int64_t)(intptr_t)picture.opaque - 1;
        result.bits = (uint64_t)bytes * 8;
        result.qp = picture.i_qpplus1 - 1 - depthOffset();
        m_plugin.end(result);
    }

private:
    /* x264 settles type and QP of a picture later than its offsets: what is told here is what is asked for. */
    void describe(mrdo_frame &frame) const
    {
        frame.keyframe = frame.poc % m_param.i_keyint_max == 0;
        frame.slice_type = frame.keyframe ? MRDO_SLICE_I : MRDO_SLICE_P;
        if (m_param.rc.i_rc_method == X264_RC_CRF)
            frame.qp = m_param.rc.f_rf_constant;
        else if (m_param.rc.i_rc_method == X264_RC_CQP)
            frame.qp = m_param.rc.i_qp_constant - depthOffset();
        frame.lambda = 0.9 * pow(2.0, (frame.qp + depthOffset() - 12) / 3);
    }

    int depthOffset() const { return 6 * (m_param.i_bitdepth - 8); }

    void refuseUnsupported(const mrdo::SideMap &side) const
    {
        if (side.hasWeight() || side.lambdaScale() != 1.0)
            mrdo::die("distortion weights or a lambda scale, for which x264 has no place; use a QP map alone");
        if (side.hasLevelB())
            mrdo::die("candidates, among which x264 cannot choose; use a QP map alone");
        if (side.hasQp() && !m_param.rc.i_aq_mode)
            mrdo::die("QP map while adaptive quantisation is off; x264 takes offsets with --aq-mode 1 and --crf alone");
    }

    /* Whole numbers: a block's QP is then x264's own plus the offset, whatever the fraction of the frame's QP. */
    float *offsets(const mrdo::SideMap &side)
    {
        const uint32_t cols = (m_param.i_width + MB - 1) / MB, rows = (m_param.i_height + MB - 1) / MB;
        m_offsets.resize(cols * rows);
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t col = 0; col < cols; col++)
                m_offsets[row * cols + col] = (float)floor(side.qpOffset(col * MB, row * MB, MB, MB) + 0.5);
        return &m_offsets[0];
    }

    mrdo::Plugin m_plugin;
    x264_param_t m_param;
    int64_t m_count;
    std::vector<float> m_offsets;
};

/* The program opens one encoder in its life. */
Hook *g_hook;

}

extern "C" int __wrap_main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--version"))
            puts(mrdo::version());
    return __real_main(argc, argv);
}

extern "C" int __wrap_x264_encoder_encode(x264_t *h, x264_nal_t **nal, int *nals, x264_picture_t *in,
                                          x264_picture_t *out)
{
    if (!g_hook)
        g_hook = new Hook(h);
    if (!g_hook->active())
        return __real_x264_encoder_encode(h, nal, nals, in, out);
    if (in)
        in->prop.quant_offsets = g_hook->begin(*in);
    const int bytes = __real_x264_encoder_encode(h, nal, nals, in, out);
    if (bytes > 0)
        g_hook->end(*out, bytes);
    return bytes;
}

extern "C" void __wrap_x264_encoder_close(x264_t *h)
{
    __real_x264_encoder_close(h);
    delete g_hook;
    g_hook = NULL;
}

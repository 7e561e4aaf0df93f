"""Scopes, and the settings of `flow.config`, `flow.env` and `flow.FunctionConfig`."""

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs import _flowrs, env, scope
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    SessionError,
    UnknownSettingError,
    UnsupportedError,
)

RUNNING = "Nothing happened because the session is running\n"


def define(body=lambda: flow.get_variable("w", (1,), initializer=flow.zeros_initializer())):
    @flow.global_function()
    def job() -> tp.Numpy:
        return body()

    return job


class TestPlacement:
    @pytest.mark.parametrize(
        ("ids", "count"),
        [("0:0", 1), ("0:0-3", 4), ("1:2-2", 1), (["0:0-1", "1:0-1"], 4), (("@0:0",), 1)],
    )
    def test_devices(self, ids, count):
        with flow.scope.placement("cpu", ids) as devices:
            assert (devices.device_tag, devices.parallel_num) == ("cpu", count)
        assert flow.scope.placement("cpu", ids, hierarchy=(count,)).parallel_num == count

    @pytest.mark.parametrize("ids", ["", "0", "0:", "0:a", "0:0,1", ":0", ["0:0", "1"], "0:-1"])
    def test_what_is_no_id(self, ids):
        with pytest.raises(ArgumentError, match='placement: expected an id such as "0:0"'):
            flow.scope.placement("cpu", ids)

    @pytest.mark.parametrize("ids", [0, None, [], [0], {"0:0"}])
    def test_what_are_no_ids(self, ids):
        with pytest.raises(ArgumentTypeError, match="placement: expected an id"):
            flow.scope.placement("cpu", ids)

    def test_devices_count_up(self):
        with pytest.raises(ArgumentError, match="devices of '0:3-1' count down"):
            flow.scope.placement("cpu", "0:3-1")

    @pytest.mark.parametrize("tag", ["cuda", "CPU", None, 0])
    def test_other_tags(self, tag):
        with pytest.raises(ArgumentError, match=f'must be "cpu" or "gpu", not {tag!r}'):
            flow.scope.placement(tag, "0:0")

    def test_gpu_means_cpu_and_says_so_once(self, monkeypatch, capsys):
        monkeypatch.setattr(scope, "_warned_of_gpu", False)

        def body():
            with flow.scope.placement("gpu", "0:0"), flow.scope.placement("gpu", "0:0-1") as gpu:
                assert gpu.device_tag == "cpu"
                return flow.get_variable("w", (1,), initializer=flow.ones_initializer())

        assert define(body)().tolist() == [1]
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.count("\n") == 1
        assert "gpu placements mean the cpu" in printed.err


class TestNamespace:
    def test_names_are_joined(self):
        names = []

        def body():
            x = flow.get_variable("x", (1,), initializer=flow.zeros_initializer())
            with flow.scope.namespace("a"), flow.scope.namespace("b"):
                names.append(flow.nn.relu(x).op_name)
                names.append(flow.nn.relu(x, name="named").op_name)
                with flow.scope.namespace("c-d"):
                    names.append(flow.nn.relu(x).op_name)
            names.append(flow.nn.relu(x).op_name)
            return x

        define(body)()
        assert names == ["a-b-Relu_0", "a-b-named", "a-b-c-d-Relu_1", "Relu_2"]

    def test_it_ends_when_a_block_raises(self):
        def body():
            with pytest.raises(KeyError), flow.scope.namespace("a"):
                raise KeyError("inside")
            return flow.get_variable("x", (1,), initializer=flow.zeros_initializer())

        define(body)()
        assert list(flow.get_all_variables()) == ["x"]

    def test_full_names_are_in_errors(self):
        def body():
            x = flow.get_variable("x", (2, 3), initializer=flow.zeros_initializer())
            with flow.scope.namespace("encoder"):
                return flow.matmul(x, x, name="product")

        with pytest.raises(flow.errors.ShapeError, match=r"matmul \(encoder-product\)"):
            define(body)()

    def test_outside_of_jobs(self):
        with pytest.raises(SessionError, match=r"flow\.scope\.namespace can only be called inside"):
            with flow.scope.namespace("a"):
                pass

    @pytest.mark.parametrize("name", ["", None, 3])
    def test_what_is_no_name(self, name):
        def body():
            with flow.scope.namespace(name):
                pass

        with pytest.raises(ArgumentTypeError, match=r"scope\.namespace: the name must be text"):
            define(body)()


class TestViews:
    def test_the_innermost_is_in_force(self):
        def state():
            return flow.scope.consistent_view_enabled(), flow.scope.mirrored_view_enabled()

        assert state() == (True, False)
        with flow.scope.mirrored_view():
            assert state() == (False, True)
            with flow.scope.consistent_view():
                assert state() == (True, False)
            assert state() == (False, True)
        assert state() == (True, False)
        with pytest.raises(KeyError), flow.scope.mirrored_view():
            raise KeyError("inside")
        assert state() == (True, False)

    def test_they_change_nothing_on_one_device(self):
        def body():
            with flow.scope.mirrored_view():
                return flow.get_variable("w", (1,), initializer=flow.ones_initializer())

        assert define(body)().tolist() == [1]


INT_SETTINGS = """
    machine_num cpu_device_num gpu_device_num comm_net_worker_num max_mdsave_worker_num
    compute_thread_pool_size rdma_mem_block_mbyte rdma_recv_msg_buf_mbyte reserved_host_mem_mbyte
    reserved_device_mem_mbyte persistence_buf_byte collective_boxing.num_callback_threads
    collective_boxing.nccl_num_streams collective_boxing.nccl_fusion_threshold_mb
""".split()
BOOL_SETTINGS = """
    enable_debug_mode enable_model_io_v2 enable_numa_aware_cuda_malloc_host use_rdma
    thread_enable_local_message_queue save_downloaded_file_to_local_fs collect_act_event
    enable_tensor_float_32_compute enable_mem_chain_merge nccl_use_compute_stream
    disable_group_boxing_by_dst_parallel collective_boxing.enable_fusion
    collective_boxing.nccl_fusion_all_reduce
""".split()


def setting(name):
    found = flow.config
    for part in name.split("."):
        found = getattr(found, part)
    return found


class TestConfig:
    @pytest.mark.parametrize("name", [*INT_SETTINGS, *BOOL_SETTINGS])
    def test_accepted_until_the_session_runs(self, name, capsys):
        value, wrong = (1, True) if name in INT_SETTINGS else (True, 1)
        function = setting(name)
        assert function(value) is True
        assert "Nothing happened" not in capsys.readouterr().out
        for bad in (wrong, "1", None, 1.0):
            with pytest.raises(ArgumentTypeError, match=f"config.{name}: expected "):
                function(bad)
        define()()
        assert function(value) is False
        assert capsys.readouterr().out == RUNNING
        flow.clear_default_session()
        assert function(value) is True

    def test_gpu_devices_are_cpu_devices(self, capsys):
        flow.config.gpu_device_num(1)
        assert "gpu_device_num is equivalent to cpu_device_num" in capsys.readouterr().out

    @pytest.mark.parametrize("number", [0, -1])
    def test_devices_are_above_0(self, number):
        for function in (flow.config.cpu_device_num, flow.config.gpu_device_num):
            with pytest.raises(ArgumentError, match="must be above 0"):
                function(number)

    def test_legacy_model_io(self, capsys):
        assert flow.config.enable_legacy_model_io(False) is True
        assert flow.config.legacy_model_io_enabled() is False
        with pytest.raises(UnsupportedError, match="old checkpoints can be read without it"):
            flow.config.enable_legacy_model_io()
        define()()
        assert flow.config.enable_legacy_model_io(False) is False
        assert capsys.readouterr().out == RUNNING

    def test_custom_operators(self):
        for function in (flow.config.load_library, flow.config.load_library_now):
            with pytest.raises(UnsupportedError, match=r"ops\.so was built for another engine"):
                function("ops.so")

    def test_threads_can_be_set_at_any_time(self):
        job = define()
        for threads in (3, 1, 2):
            flow.config.cpu_threads(threads)
            assert _flowrs.threads() == threads
            assert job().tolist() == [0]

    @pytest.mark.parametrize("threads", [0, -1, 10**6, 10**30])
    def test_numbers_of_threads_that_cannot_be(self, threads):
        with pytest.raises(ArgumentError, match=f"{threads}"):
            flow.config.cpu_threads(threads)
        with pytest.raises(ArgumentTypeError, match=r"config\.cpu_threads: expected int"):
            flow.config.cpu_threads(float(threads))

    @pytest.mark.parametrize(
        ("setter", "names"),
        [
            (flow.config.convolution_algorithm, '"auto", "direct", "winograd", "im2col"'),
            (flow.config.precision, '"default", "strict"'),
        ],
    )
    def test_choices_of_algorithms(self, setter, names):
        with pytest.raises(ArgumentError, match=f"expected one of {names}, found 'fast'"):
            setter("fast")
        with pytest.raises(ArgumentTypeError, match="expected str, found NoneType"):
            setter(None)

    @pytest.mark.parametrize("seed", ["1", 1.0, True])
    def test_seeds_are_ints(self, seed):
        with pytest.raises(ArgumentTypeError, match=r"config\.random_seed: expected int"):
            flow.config.random_seed(seed)


class TestEnv:
    def test_init_is_done_once(self, monkeypatch, capsys):
        monkeypatch.setattr(env, "_initialized", False)
        assert flow.env.init() is True
        assert capsys.readouterr().out == ""
        assert flow.env.init() is False
        assert capsys.readouterr().out == (
            "Nothing happened because environment has been initialized\n"
        )

    @pytest.mark.parametrize(
        "machines", [["127.0.0.1"], [{"addr": "host"}], {"addr": "host"}, "host", []]
    )
    def test_one_machine_is_accepted_and_changes_nothing(self, machines):
        @flow.global_function()
        def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
            return x + 1

        flow.env.machine(machines)
        np.testing.assert_array_equal(job(np.zeros(2, np.float32)), [1, 1])

    def test_more_machines(self):
        with pytest.raises(UnsupportedError, match="2 machines are named"):
            flow.env.machine([{"addr": "one"}, {"addr": "two"}])
        with pytest.raises(UnsupportedError, match="2 machines are named"):
            flow.env.machine("one", "two")
        with pytest.raises(ArgumentError, match="an address is named twice"):
            flow.env.machine(["one", "one"])

    @pytest.mark.parametrize("machines", [3, None, [None], {"host": "one"}, [["one"]]])
    def test_what_is_no_machine(self, machines):
        with pytest.raises(ArgumentTypeError, match=r"env\.machine: expected"):
            flow.env.machine(machines)

    @pytest.mark.parametrize(
        ("name", "value", "wrong"),
        [
            ("ctrl_port", 8000, "8000"),
            ("data_port", 8000, True),
            ("log_dir", "logs", 3),
            ("logtostderr", 1, True),
            ("logbuflevel", -1, "1"),
            ("grpc_use_no_signal", True, 1),
        ],
    )
    def test_settings_without_effect(self, name, value, wrong):
        function = getattr(flow.env, name)
        function(value)
        with pytest.raises(ArgumentTypeError, match=f"env.{name}: expected"):
            function(wrong)


class TestFunctionConfig:
    @pytest.mark.parametrize(
        "name",
        [
            *("enable_cudnn", "cudnn_buf_limit_mbyte", "enable_inplace", "enable_reused_mem"),
            *("concurrency_width", "prune_parallel_cast_ops", "use_xla_jit", "use_tensorrt"),
            *("enable_auto_mixed_precision", "enable_nccl", "all_reduce_group_num"),
            *("tensorrt.use_fp16", "static_mem_alloc_policy_white_list.add"),
        ],
    )
    def test_without_effect(self, name):
        found = flow.FunctionConfig()
        for part in name.split("."):
            found = getattr(found, part)
        assert found(True) is None

    def test_typed_settings(self, capsys):
        config = flow.FunctionConfig()
        config.default_data_type(flow.float)
        config.default_logical_view(flow.scope.consistent_view())
        config.default_logical_view(flow.scope.mirrored_view())
        config.default_placement_scope(flow.scope.placement("cpu", "0:0"))
        assert capsys.readouterr().err == ""
        config.default_distribute_strategy(flow.scope.consistent_view())
        assert "deprecated: use default_logical_view" in capsys.readouterr().err
        for name in ("default_data_type", "default_logical_view", "default_placement_scope"):
            with pytest.raises(ArgumentTypeError, match=f"FunctionConfig.{name}: expected"):
                getattr(config, name)(np.float32)

    def test_what_is_not_known(self):
        config = flow.FunctionConfig()
        with pytest.raises(UnknownSettingError, match="FunctionConfig has no setting enable_magic"):
            config.enable_magic(True)
        assert not hasattr(config, "enable_magic")
        for name in ("enable_qat", "enable_quantization_aware_training"):
            with pytest.raises(UnsupportedError, match=f"FunctionConfig.{name}: quantization"):
                getattr(config, name)

    def test_the_three_names(self):
        assert flow.function_config is flow.FunctionConfig is flow.ExecutionConfig


class TestDistribute:
    def test_hints(self):
        assert flow.distribute.broadcast() is flow.distribute.broadcast()
        assert flow.distribute.auto() is flow.distribute.auto()
        shown = [flow.distribute.split(1), flow.distribute.broadcast(), flow.distribute.auto()]
        assert [repr(hint) for hint in shown] == [
            "distribute.split(1)",
            "distribute.broadcast()",
            "distribute.auto()",
        ]
        for hint in shown:
            flow.distribute.assert_is_valid_distribute(hint)
        with pytest.raises(ArgumentTypeError, match=r"expected a flow\.distribute hint"):
            flow.distribute.assert_is_valid_distribute("broadcast")


class TestDeprecatedNames:
    def test_name_scope_is_a_namespace(self, capsys):
        def body():
            with flow.name_scope("outer"), flow.scope.namespace("inner"):
                return flow.get_variable("w", (1,), initializer=flow.zeros_initializer())

        define(body)()
        assert list(flow.get_all_variables()) == ["outer-inner-w"]
        assert "name_scope is deprecated: use flow.scope.namespace" in capsys.readouterr().err

    def test_strategies_are_views(self, capsys):
        assert flow.distribute.consistent_strategy_enabled()
        with flow.distribute.mirrored_strategy():
            assert flow.distribute.mirrored_strategy_enabled()
            with flow.distribute.consistent_strategy():
                assert not flow.scope.mirrored_view_enabled()
        assert capsys.readouterr().err.count("is deprecated: use flow.scope.") == 4
